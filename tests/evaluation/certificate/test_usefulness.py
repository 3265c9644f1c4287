"""The usefulness section: equal training on the dataset and on the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dentgen.errors import ConditionError
from dentgen.evaluation.certificate.usefulness import LabelledSet, usefulness
from dentgen.evaluation.certificate.write import CertificateSettings, certify
from tests.evaluation.certificate.finished import Members, finished_build


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, demo_members: Members) -> Path:
    return finished_build(tmp_path_factory.mktemp("build"), demo_members)


@pytest.mark.slow
def test_training_on_it_is_compared_with_training_on_the_reference(out: Path) -> None:
    settings = CertificateSettings(pictures=8, reference=str(out), steps=2, seeds=(0, 1))
    first, second = (certify(str(out), settings).sections["usefulness"] for _ in range(2))
    assert first == second
    assert first.figures["pictures_dataset"] == 6
    reference, test = first.figures["pictures_reference"], first.figures["pictures_test"]
    assert reference is not None
    assert test is not None
    assert reference + test == 6
    mious = [first.figures[name] for name in ("miou_dataset", "miou_reference")]
    assert all(value is not None and 0 <= value <= 1 for value in mious)
    assert first.figures["miou_ratio"] == pytest.approx(np.divide(*mious), abs=1e-3)  # type: ignore[arg-type]
    assert set(first.computed_from) == {"index", "reference"}


def test_a_reference_of_one_patient_cannot_be_divided() -> None:
    pictures = LabelledSet(np.zeros((2, 16, 16, 3), np.uint8), np.zeros((2, 16, 16), np.uint8), ("p", "p"))
    with pytest.raises(ConditionError) as caught:
        usefulness(pictures, pictures, 1, (0,))
    assert caught.value.found == "pictures of one patient"
