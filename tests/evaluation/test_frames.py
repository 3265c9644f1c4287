"""Agreement of frames, at toy size: made-up pictures whose figures are known, and one run on the miniature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dentgen.evaluation.frames import FIGURES, FramesSettings, _mean_scores, _seed_scores, frames_table, measure_frames
from dentgen.evaluation.series import Series, read_series
from dentgen.models.judges import Judges, load_judges
from dentgen.spec.build import BuildSpec
from tests.conftest import write_tar
from tests.evaluation.test_series import SPEC, Members, frame

FRAMES = 4


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, demo_members: dict[str, Members]) -> Path:
    """Two series of four equal frames, moved by 8 and 4 pixels each as their motion says, mixed in one shard."""
    folder = tmp_path_factory.mktemp("series")
    members = demo_members[min(demo_members)]
    moves = {"a": 8.0, "b": 4.0}
    frames = {
        f"{name}{n}": frame(members, n, name, right=move * n) for n in range(FRAMES) for name, move in moves.items()
    }
    write_tar(folder / "x.tar", frames)
    return folder


@pytest.fixture(scope="module")
def judges() -> Judges:
    return load_judges("embedded")


@pytest.fixture(scope="module")
def series(source: Path) -> Series:
    return next(read_series(str(source), SPEC))


def patches(seed: int) -> NDArray[np.float64]:
    """Coloured squares of 4 pixels, wider than a picture."""
    squares = np.random.default_rng(seed).uniform(0, 255, (16, 32, 3))
    return squares.repeat(4, 0).repeat(4, 1)


def scores(judges: Judges, series: Series, pictures: list[list[NDArray[np.float64]]]) -> dict[str, float]:
    """Means of the figures of pictures by frame and seed."""
    found = np.stack([np.stack(frame) for frame in pictures]).astype(np.uint8)
    return {name: mean for name, (mean, _) in _mean_scores([_seed_scores(judges, series, found)]).items()}


@pytest.mark.integration
def test_figures_tell_what_moves_along_from_what_stays_and_what_is_new(judges: Judges, series: Series) -> None:
    """The surface moves by 4 pixels a frame, to the left, at this size."""
    surfaces = [patches(seed) for seed in range(3)]
    along = [[surface[:, 4 * n :][:, :64] for surface in surfaces] for n in range(FRAMES)]
    stuck = [[surface[:, :64] for surface in surfaces] for _ in range(FRAMES)]
    fresh = [[patches(10 * n + seed)[:, :64] for seed in range(3)] for n in range(FRAMES)]
    by = {name: scores(judges, series, found) for name, found in (("along", along), ("stuck", stuck), ("fresh", fresh))}
    assert by["along"]["flicker"] < 1 < 50 < by["stuck"]["flicker"]
    assert by["along"]["moves_along"] > 0.95
    assert by["along"]["stays"] < 0.5
    assert by["stuck"]["stays"] > 0.95
    assert by["stuck"]["moves_along"] < 0.5
    assert abs(by["fresh"]["moves_along"]) < 0.2


@pytest.mark.slow
def test_every_noise_is_built_and_measured(source: Path, tmp_path: Path) -> None:
    values = {
        "conditions": {"size": 64}, "sampling": {"steps": 1}, "engine": {"slots": 2, "codec_batch": 2},
    }  # fmt: skip
    found = measure_frames(FramesSettings(str(tmp_path), str(source), BuildSpec.model_validate(values), seeds=2))
    assert list(found.scores) == ["reference", "record", "series", "motion"]
    assert found.series == 2
    assert found.scores["reference"]["flicker_beyond"][0] == 0
    assert found.scores["series"]["flicker_beyond"][0] < found.scores["record"]["flicker_beyond"][0]
    assert found.sheet.shape == (4 * 64, (2 * FRAMES - 1) * 64, 3)
    assert len(frames_table(found)) == 2 + 4
    assert set(found.figures) == {
        f"{name}_{noise}{end}" for noise in found.scores for name in FIGURES for end in ("", "_spread")
    }
