"""The filter on planted panels: each fault is rejected for its own reason, and the others of its record stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dentgen.conditions.labels import tissue_classes
from dentgen.curation.pairs.filter import Panel, accepted_numbers, judge_panels
from dentgen.curation.pairs.limits import PairLimits
from dentgen.models.judges import Judges, load_judges
from dentgen.quality.relit_pairs import inner_teeth
from tests.curation.pairs.panels import EDGE, LIGHTS, gain, good_panels, panel, phantoms, relit

LIMITS = PairLimits()


@pytest.fixture(scope="module")
def judges() -> Judges:
    return load_judges("embedded")


def planted(at: int, picture: NDArray[np.uint8]) -> list[Panel]:
    """Good panels, one of them with another picture."""
    panels = good_panels()
    panels[at] = replace(panels[at], picture=picture)
    return panels


def photo(number: int = 0) -> NDArray[np.uint8]:
    picture = phantoms()[number].photo
    assert picture is not None
    return picture


def test_good_panels_are_accepted_in_every_ordered_pair(judges: Judges) -> None:
    verdicts, pairs = judge_panels(good_panels(), judges, LIMITS)
    assert accepted_numbers(verdicts) == [0, 1, 2]
    assert [(pair.reference, pair.target) for pair in pairs] == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    forth, back = pairs[0].figures, pairs[2].figures
    assert forth == pytest.approx(back)
    assert forth["identity"] > 0.95
    assert forth["light_difference"] > 0.05


def another_mouth(number: int) -> NDArray[np.uint8]:
    return relit(photo(number), LIGHTS[1])


def wrong_labels() -> NDArray[np.uint8]:
    """The picture of a label map that lies elsewhere."""
    return np.roll(relit(photo(), LIGHTS[1]), 24, 0)


def other_surface() -> NDArray[np.uint8]:
    """Teeth of the same shape, mean colour and light with another texture."""
    picture, record = photo().copy(), phantoms()[0]
    inside = inner_teeth(tissue_classes(record.conditions["segmentation"].astype(np.uint8)))
    texture = np.random.default_rng(0).uniform(0.7, 1.0, (EDGE // 4, EDGE // 4, 1)).repeat(4, 0).repeat(4, 1)
    picture[inside] = np.round(picture[inside].mean(0) * texture[inside]).astype(np.uint8)
    shading = gaussian_filter(record.conditions["lighting"] / 255, 3)[..., None]
    return relit(picture, LIGHTS[1] * (0.4 + shading))


def unlit_copy() -> NDArray[np.uint8]:
    """The first panel's teeth as they are, before another background."""
    picture = photo().copy()
    outside = phantoms()[0].conditions["segmentation"] == 0
    picture[outside] = np.roll(picture, 40, 1)[outside] // 2
    return picture


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (np.zeros((EDGE, EDGE, 3), np.uint8), "luminance"),
        (another_mouth(3), "miou"),
        (wrong_labels(), "miou"),
        (other_surface(), "identity"),
        (photo(), "distinct"),
        (unlit_copy(), "light_difference"),
    ],
    ids=["black", "another mouth", "wrong labels", "other surface", "identical copy", "unlit copy"],
)
def test_a_planted_panel_is_rejected_for_its_reason(judges: Judges, picture: NDArray[np.uint8], reason: str) -> None:
    verdicts, pairs = judge_panels(planted(1, picture), judges, LIMITS)
    found = verdicts[1].rejection
    assert found is not None
    assert found.reason == reason
    assert found.value is not None
    assert found.reason != "partner"
    assert found.threshold == LIMITS.interval(found.reason)[0]
    assert found.value < found.threshold
    assert accepted_numbers(verdicts) == [0, 2], "the others stay"
    assert {(pair.reference, pair.target) for pair in pairs} == {(0, 2), (2, 0)}


def test_what_judges_see_must_agree_between_panels(judges: Judges) -> None:
    """Another mouth, which its labels alone would let pass."""
    lenient = replace(LIMITS, least_miou=0, least_light_correlation=-1)
    verdicts, _ = judge_panels(planted(1, another_mouth(3)), judges, lenient)
    assert [verdict.rejection and verdict.rejection.reason for verdict in verdicts] == [None, "agreement", None]


def test_clipped_panels_are_rejected(judges: Judges) -> None:
    blown = relit(photo(), gain(0.4, 0) * 6)
    verdicts, _ = judge_panels(planted(1, blown), judges, replace(LIMITS, most_luminance=1.0))
    found = verdicts[1].rejection
    assert found is not None
    assert (found.reason, found.threshold) == ("clipped", LIMITS.most_clipped)


def test_a_light_that_does_not_follow_its_map_is_rejected(judges: Judges) -> None:
    record = phantoms()[0]
    inverted = replace(record, conditions={**record.conditions, "lighting": 255 - record.conditions["lighting"]})
    panels = good_panels()
    panels[1] = panel(inverted, panels[1].picture, LIGHTS[0])
    verdicts, _ = judge_panels(panels, judges, LIMITS)
    assert [verdict.rejection and verdict.rejection.reason for verdict in verdicts] == [None, "light_correlation", None]


def test_a_panel_without_partner_is_rejected(judges: Judges) -> None:
    panels = planted(1, np.zeros((EDGE, EDGE, 3), np.uint8))[:2]
    verdicts, pairs = judge_panels(panels, judges, LIMITS)
    found = verdicts[0].rejection
    assert found is not None
    assert (found.reason, found.value, found.threshold) == ("partner", 0.0, 1.0)
    assert pairs == []


def test_a_scorer_is_asked_for_ordered_pairs_and_recorded(judges: Judges) -> None:
    panels = good_panels()

    def doubts_the_last(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
        return 0.1 if panels[2].picture is one or panels[2].picture is other else 0.9

    verdicts, pairs = judge_panels(panels, judges, LIMITS, doubts_the_last)
    assert [(pair.reference, pair.target, pair.figures["score"]) for pair in pairs] == [(0, 1, 0.9), (1, 0, 0.9)]
    found = verdicts[2].rejection
    assert found is not None
    assert (found.reason, found.value, found.threshold) == ("score", 0.1, LIMITS.least_score)
