"""Gains over a baseline: differences of means, and when they exceed the spread over trainings."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from dentgen.evaluation.gains import Gain, gain_figures, gain_lines, gains_over
from dentgen.evaluation.tables.figures import GOALS
from dentgen.evaluation.tables.spreads import leader, spread

BY_WAY = {
    "plain": {"miou unet": np.array([0.5, 0.6, 0.7]), "kernel_distance unet": np.array([1.0, 1.1, 1.2])},
    "reward": {"miou unet": np.array([0.8, 0.8, 0.95]), "kernel_distance unet": np.array([1.0, 1.1, 1.3])},
    "start": {"miou unet": np.array([0.55]), "kernel_distance unet": np.array([2.0])},
    "reference": {"miou unet": np.array([1.0]), "kernel_distance unet": np.array([0.0])},
}


def test_every_other_way_is_compared_but_the_reference_pictures() -> None:
    gains = gains_over(BY_WAY, "plain")
    assert [(gain.way, gain.figure) for gain in gains] == [
        (way, figure) for way in ("reward", "start") for figure in ("miou unet", "kernel_distance unet")
    ]
    assert [gain.difference for gain in gains] == pytest.approx([0.25, 1 / 30, -0.05, 0.9])
    worse = max(statistics.stdev([0.5, 0.6, 0.7]), statistics.stdev([0.8, 0.8, 0.95]))
    assert gains[0].spread == pytest.approx(worse)
    assert gains[2].spread == math.inf, "a single training has no known spread"
    assert [gain.verdict for gain in gains] == ["gain", "within spread", "no spread", "no spread"]


@pytest.mark.parametrize(
    ("figure", "difference", "verdict"),
    [
        ("miou dilated", 0.2, "gain"),
        ("miou dilated", -0.2, "loss"),
        ("bleed_in unet", -0.2, "gain"),
        ("light_correlation", 0.05, "within spread"),
        ("spread_variants", -0.2, "change"),
        ("ghost_edges", 0.2, "change"),
    ],
)
def test_a_difference_beyond_the_spread_is_a_gain_where_it_goes_the_right_way(
    figure: str, difference: float, verdict: str
) -> None:
    assert Gain("a", "b", figure, difference, 0.1).verdict == verdict
    assert Gain("a", "b", figure, difference, math.inf).verdict == "no spread"


def test_gains_are_lines_and_figures() -> None:
    gains = gains_over(BY_WAY, "plain")
    assert gain_lines(gains)[0].split() == [
        "reward", "over", "plain:", "miou", "unet", "+0.2500", "spread", "0.1000", "gain",
    ]  # fmt: skip
    figures = gain_figures(gains)
    assert figures["reward_miou_unet_gain"] == pytest.approx(0.25)
    assert figures["reward_kernel_distance_unet_gain_spread"] == pytest.approx(statistics.stdev([1.0, 1.1, 1.3]))
    assert figures["start_kernel_distance_unet_gain_spread"] == math.inf


def test_a_gain_is_what_a_table_would_name_the_leader_for() -> None:
    for gain in gains_over(BY_WAY, "plain"):
        both = {way: spread(BY_WAY[way][gain.figure].tolist()) for way in (gain.way, "plain")}
        leads = leader(both, GOALS[gain.figure.split(" ")[0]])
        assert leads == {"gain": gain.way, "loss": "plain"}.get(gain.verdict)
