"""A network learns what it is shown, reproducibly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dentgen.evaluation.photos.labelled_images import LabelledImages
from dentgen.evaluation.photos.network import NUMBERS
from dentgen.evaluation.photos.real_photos import read_photos
from dentgen.evaluation.photos.scores import score
from dentgen.evaluation.photos.tooth_numbers import CHANNELS
from dentgen.evaluation.photos.training import TrainingSettings, predict, train_network
from tests.evaluation.photos.photographs import write_photo


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> LabelledImages:
    folder: Path = tmp_path_factory.mktemp("photos")
    for number in range(4):
        write_photo(folder, f"p{number}", seed=number)
    return read_photos(str(folder), 64)


@pytest.mark.slow
def test_it_learns_white_teeth(photos: LabelledImages) -> None:
    network = train_network([photos], TrainingSettings(steps=60, batch=4), 0, "test")
    assert score(predict(network, photos.images), photos).figures()["iou"] > 0.8


@pytest.mark.integration
def test_equal_arguments_give_equal_weights(photos: LabelledImages) -> None:
    settings = TrainingSettings(steps=2, batch=4)
    first, again, other = (train_network([photos, photos], settings, seed, "test") for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.head.weight, other.head.weight)


def test_predictions_do_not_depend_on_mirroring(photos: LabelledImages) -> None:
    network = train_network([photos], TrainingSettings(steps=1, batch=2), 0, "test")
    found, mirrored = predict(network, photos.images[:1]), predict(network, photos.images[:1, :, ::-1])
    assert found.shape == (1, NUMBERS + CHANNELS, 64, 64)
    back = mirrored[..., ::-1].copy()
    back[:, -1] = 1 - back[:, -1]  # the patient's right is on the other side
    np.testing.assert_allclose(found, back, atol=1e-5)
