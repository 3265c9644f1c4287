"""Planted copies are all found, and no picture that is none; the figures are what they are said to be."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentgen.curation import memorisation as module
from dentgen.curation.features import Features
from dentgen.curation.memorisation import Memorisation, Seen, compare, measure_memorisation, nearest_rows
from dentgen.curation.pictures import read_pictures
from dentgen.errors import BuildError, ConditionError
from dentgen.phantom.shards import PhantomSet, write_phantoms
from dentgen.shards.tar import png_bytes
from tests.conftest import write_tar
from tests.report.fake_builds import fake_build, written

#: All of them need pictures or trainings that take seconds.
pytestmark = pytest.mark.integration

SIZE = 64
SEG = png_bytes(np.ones((SIZE, SIZE), np.uint8))
#: Samples of the build that are copies, by the number of the training picture.
COPIES = {"jaw-000-v000": 3, "jaw-002-v001": 11, "jaw-005-v000": 11, "jaw-006-v001": 15}


KEYS = {key: f"t{number:02d}" for key, number in COPIES.items()}


def records(folder: Path, photos: dict[str, np.ndarray]) -> str:
    write_tar(folder / "a.tar", {key: {"seg.png": SEG, "photo.png": png_bytes(photos[key])} for key in photos})
    return str(folder)


def encoded_again(picture: np.ndarray, seed: int) -> np.ndarray:
    """A JPEG of slight noise."""
    noise = np.random.default_rng(seed).normal(0, 2, picture.shape)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(picture + noise, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return np.asarray(Image.open(buffer))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Phantoms: 16 training pictures, 10 held-out ones, and a build of 14 samples, four of which are copies."""
    folder = tmp_path_factory.mktemp("memorisation")
    write_phantoms(str(folder / "phantoms"), PhantomSet(36, 9004, SIZE, 36), 1)
    photos = [picture.pixels for picture in read_pictures(str(folder / "phantoms"))]
    clean = iter(photos[26:])

    def drawn(key: str, _: tuple[int, int]) -> np.ndarray:
        return encoded_again(photos[COPIES[key]], COPIES[key]) if key in COPIES else next(clean)

    fake_build(folder / "out", [written(n) for n in range(7)], draw=drawn, conditions={"size": SIZE})
    return {
        "out": str(folder / "out"),
        "training": records(folder / "training", {f"t{n:02d}": photos[n] for n in range(16)}),
        "held_out": records(folder / "held_out", {f"h{n:02d}": photos[n] for n in range(16, 26)}),
    }


def measured(places: dict[str, str], count: int | None = None) -> Memorisation:
    return measure_memorisation(places["out"], places["training"], places["held_out"], count=count)


@pytest.fixture(scope="module")
def found(places: dict[str, str]) -> Memorisation:
    return measured(places)


@pytest.mark.slow
def test_all_planted_copies_are_found_and_none_of_the_others(found: Memorisation) -> None:
    assert {copy.generated: copy.training for copy in found.copies} == KEYS
    assert (found.figures["copies"], found.figures["held_out_copies"]) == (4, 0)
    assert all(copy.bits is not None and copy.bits <= 15 for copy in found.copies)


def test_copies_are_the_nearest_pairs_in_feature_space(found: Memorisation) -> None:
    assert len(found.nearest) == 10
    assert {pair.generated: pair.training for pair in found.nearest[:4]} == KEYS
    distances = [pair.distance for pair in found.nearest]
    assert distances == sorted(distances)
    assert distances[3] < found.figures["limit"]
    assert 4 / 14 <= found.figures["share_near"] <= 6 / 14
    assert 0.5 < found.figures["median_ratio"] < 1.5
    assert [found.figures[name] for name in ("generated", "training", "held_out")] == [14, 16, 10]


def test_some_samples_are_drawn_by_key(places: dict[str, str]) -> None:
    few = measured(places, count=5)
    assert few.figures["generated"] == len(few.nearest) == 5
    assert few.nearest == measured(places, count=5).nearest


def seen(values: np.ndarray, prints: np.ndarray | None = None) -> Seen:
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**63, (len(values), 4)).astype(np.uint64) if prints is None else prints
    return Seen(Features(tuple(f"k{n}" for n in range(len(values))), values.astype(np.float32)), words)


def test_figures_of_distances_that_are_known() -> None:
    """Training pictures at -1 and 1, so that distances stay as they are."""
    training = seen(np.array([[-1.0], [1.0]]))
    held_out = seen(1 + np.arange(1, 101)[:, None] / 10)
    generated = seen(np.array([[1.05], [2.0], [4.0], [9.0]]))
    figures = compare(generated, training, held_out).figures
    assert figures["limit"] == pytest.approx(0.199, abs=1e-4)
    assert figures["share_near"] == 0.25
    assert figures["median_ratio"] == pytest.approx(2.0 / 5.05, abs=1e-3)


def test_held_out_pictures_among_the_training_pictures_are_refused() -> None:
    training = seen(np.array([[-1.0], [1.0]]))
    with pytest.raises(ConditionError) as caught:
        compare(seen(np.array([[3.0]])), training, training)
    assert caught.value.file == "the held-out pictures"


def test_nearest_rows_are_those_of_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 100)
    rng = np.random.default_rng(2)
    queries, known = rng.normal(size=(37, 6)).astype(np.float32), rng.normal(size=(23, 6)).astype(np.float32)
    queries[5] = known[7]
    distances = np.linalg.norm(queries[:, None].astype(np.float64) - known[None], axis=-1)
    nearest, apart = nearest_rows(queries, known)
    np.testing.assert_array_equal(nearest, distances.argmin(1))
    np.testing.assert_allclose(apart, distances.min(1), atol=1e-6)
    assert apart[5] == 0


def test_an_unfinished_build_is_refused(places: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        measured({**places, "out": str(tmp_path)})
    assert caught.value.file == str(tmp_path)
