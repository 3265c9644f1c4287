"""The judge of findings on painted pictures: what is there is seen, what is shading is not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dentgen.quality.finding_judge import FindingScore, judge_finding

EDGE = 48
LIGHT = np.tile(np.linspace(70, 250, EDGE).astype(np.uint8), (EDGE, 1))
INSIDE = np.zeros((EDGE, EDGE), bool)
INSIDE[10:22, 10:22] = True
TOOTH, GUM = (205, 196, 170), (190, 110, 105)
SHOWN = {
    "restoration": (90, 100, 110),
    "caries": (120, 80, 50),
    "plaque": (210, 190, 110),
    "inflammation": (190, 60, 60),
    "other": (90, 130, 90),
}


def shaded(colour: tuple[int, int, int], finding: tuple[int, int, int] | None = None) -> NDArray[np.uint8]:
    """A tissue under the light, noisy, with a finding in the square."""
    albedo = np.empty((EDGE, EDGE, 3))
    albedo[:] = colour
    if finding is not None:
        albedo[INSIDE] = finding
    noise = np.random.default_rng(0).normal(0, 2, albedo.shape)
    return np.clip(albedo * (0.3 + 0.7 * LIGHT[..., None] / 255) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", SHOWN)
def test_what_is_there_is_found(kind: str) -> None:
    tissue = GUM if kind == "inflammation" else TOOTH
    score = judge_finding(shaded(tissue, SHOWN[kind]), INSIDE, ~INSIDE, kind, LIGHT)
    assert score is not None
    assert score.inside > 0.9
    assert score.outside < 0.05
    assert score.found


@pytest.mark.parametrize("kind", SHOWN)
def test_shading_is_no_finding(kind: str) -> None:
    """The square lies in the dark half, which the light explains."""
    tissue = GUM if kind == "inflammation" else TOOTH
    score = judge_finding(shaded(tissue), INSIDE, ~INSIDE, kind, LIGHT)
    assert score is not None
    assert score.inside < 0.05
    assert not score.found
    blind = judge_finding(shaded(TOOTH), INSIDE, ~INSIDE, "restoration")
    assert blind is not None
    assert blind.outside > 0.2, "without the light, shading looks like one"


def test_nothing_to_compare_gives_no_score() -> None:
    assert judge_finding(shaded(TOOTH), 0 * INSIDE > 0, ~INSIDE, "caries") is None
    assert judge_finding(shaded(TOOTH), INSIDE, 0 * INSIDE > 0, "caries") is None


@pytest.mark.parametrize(
    ("inside", "outside", "found"), [(0.19, 0, False), (0.21, 0.1, True), (0.5, 0.3, False), (0.7, 0.3, True)]
)
def test_found_is_more_than_elsewhere(inside: float, outside: float, found: bool) -> None:
    assert FindingScore(inside, outside).found == found
