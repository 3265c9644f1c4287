"""Judges in files: what is written is loaded, what is damaged is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dentgen.errors import BundleError
from dentgen.models.judge_networks import DilatedSegmenter, Segmenter
from dentgen.models.judges import (
    CONFIG,
    REFERENCE,
    judges_digest,
    load_judges,
    reference_figures,
    write_judge,
    write_reference,
)
from dentgen.records import FIGURES
from dentgen.seeding import fresh_weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, kind in (("unet", Segmenter), ("dilated", DilatedSegmenter)):
        with fresh_weights(1, name):
            write_judge(str(tmp_path), name, kind(), 64)
    return tmp_path


def pictures(count: int = 3) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, 64, 48, 3), np.uint8)


def test_what_is_written_is_loaded(folder: Path) -> None:
    judges = load_judges(str(folder))
    assert (sorted(judges.networks), judges.size) == (["dilated", "unet"], 64)
    with fresh_weights(1, "unet"):
        weights = Segmenter().state_dict()
    for name, value in judges.networks["unet"].state_dict().items():
        assert torch.equal(value, weights[name].half().float()), name


def test_probabilities_are_the_mean_over_judges(folder: Path) -> None:
    both = load_judges(str(folder)).probabilities(pictures())
    single = []
    for name in ("unet", "dilated"):
        other = folder / ("dilated" if name == "unet" else "unet")
        hidden = other.with_suffix(".safetensors").rename(folder / "hidden")
        single.append(load_judges(str(folder)).probabilities(pictures()))
        hidden.rename(other.with_suffix(".safetensors"))
    assert both.shape == (3, 3, 64, 48)
    np.testing.assert_allclose(both, np.mean(single, 0), atol=1e-6)
    np.testing.assert_allclose(both.sum(1), 1, atol=1e-5)


def test_the_digest_names_config_and_weights(folder: Path) -> None:
    before = judges_digest(str(folder))
    assert load_judges(str(folder)).digest == before
    write_judge(str(folder), "unet", Segmenter(), 64)
    assert judges_digest(str(folder)) != before


def test_the_licence_of_a_folder_stays(folder: Path) -> None:
    (folder / CONFIG).write_text(json.dumps({"license": "Apache-2.0", "size": 64}))
    write_judge(str(folder), "unet", Segmenter(), 96)
    assert json.loads((folder / CONFIG).read_text()) == {"license": "Apache-2.0", "size": 96}


@pytest.mark.parametrize(
    ("name", "content"),
    [("unet.safetensors", b"torn"), (CONFIG, b"{}"), (CONFIG, b'{"size": 33}'), ("dilated.safetensors", b"")],
)
def test_damaged_files_are_named(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError) as caught:
        load_judges(str(folder))
    assert str(caught.value.file).endswith(name)


def test_a_folder_without_judges_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        load_judges(str(tmp_path))
    assert caught.value.found == "no judges"


def test_a_reference_is_read_back(folder: Path) -> None:
    write_reference(str(folder), {"miou": np.array([0.5, np.nan]), "shift": np.array([0.1234, 2.0])})
    found = reference_figures(str(folder))
    np.testing.assert_array_equal(found["miou"], [0.5, np.nan])
    np.testing.assert_array_equal(found["shift"], [0.1234, 2.0])
    (folder / REFERENCE).unlink()
    with pytest.raises(BundleError) as caught:
        reference_figures(str(folder))
    assert str(caught.value.file).endswith(REFERENCE)


@pytest.mark.parametrize(
    "figures", [{}, {"miou": np.zeros(0)}, {"miou": np.zeros(2), "shift": np.zeros(3)}, {"miou": np.zeros((2, 2))}]
)
def test_a_reference_of_unequal_lists_is_refused(folder: Path, figures: dict[str, np.ndarray]) -> None:
    write_reference(str(folder), figures)
    with pytest.raises(BundleError) as caught:
        reference_figures(str(folder))
    assert caught.value.expected == "equally long lists of figures"


def test_the_embedded_judges_have_a_reference_of_every_figure() -> None:
    judges, reference = load_judges("embedded"), reference_figures("embedded")
    assert sorted(judges.networks) == ["dilated", "unet"]
    assert set(reference) == set(FIGURES)
    assert len({len(values) for values in reference.values()}) == 1
