"""Lesions: prevalences, where they may lie, and the distance that gives them their outline."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.phantom.lesions import Lesions, Spot, sample_lesions, spot_distance
from dentgen.seeding import numpy_generator

COUNT = 1500


@pytest.fixture(scope="module")
def adults() -> list[Lesions]:
    return [sample_lesions("permanent", numpy_generator("adult", n)) for n in range(COUNT)]


def share(hits: list[bool]) -> float:
    return sum(hits) / len(hits)


def test_prevalences_are_those_of_the_constants(adults: list[Lesions]) -> None:
    assert share([bool(lesions.caries) for lesions in adults]) == pytest.approx(0.27, abs=0.04)
    assert share([lesions.plaque > 0 for lesions in adults]) == pytest.approx(0.35, abs=0.04)
    assert share([lesions.stain > 0 for lesions in adults]) == pytest.approx(0.12, abs=0.03)
    filled = 1 - (1 - 0.13) ** 4 * (1 - 0.38) ** 4 * (1 - 0.28) ** 4 * (1 - 0.025) ** 28
    assert share([bool(lesions.fillings) for lesions in adults]) == pytest.approx(0.85 * filled, abs=0.05)


def test_lesions_lie_on_teeth_where_they_can_occur(adults: list[Lesions]) -> None:
    for lesions in adults:
        spots = [filling.spot for filling in lesions.fillings] + [caries.spot for caries in lesions.caries]
        for spot in spots:
            assert spot.fdi // 10 in {1, 2, 3, 4}
            assert 1 <= spot.fdi % 10 <= 7
            assert spot.surface == "facial" or spot.fdi % 10 >= 4, "front teeth have no biting surface"
        assert not set(lesions.crowns) & {31, 32, 33, 41, 42, 43}
        assert all(kind == "ceramic" or fdi % 10 > 3 for fdi, kind in lesions.crowns.items()), "no golden front teeth"
        assert all(filling.kind == "composite" for filling in lesions.fillings if filling.spot.surface == "facial")


def test_children_have_neither_fillings_nor_crowns() -> None:
    children = [sample_lesions("deciduous", numpy_generator("child", n)) for n in range(300)]
    assert not any(lesions.fillings or lesions.crowns for lesions in children)
    decayed = {caries.spot.fdi for lesions in children for caries in lesions.caries}
    assert decayed <= {10 * quadrant + position for quadrant in (5, 6, 7, 8) for position in range(1, 6)}


def test_occlusal_distance_is_elliptic_and_ends_at_the_biting_surface() -> None:
    spot = Spot(16, "occlusal", 0.1, -0.2, 0.3)
    mesial, across = np.array([0.1, 0.4, 0.1, 0.1]), np.array([-0.2, -0.2, 0.1, -0.2])
    height = np.array([0.9, 0.9, 0.9, 0.3])
    found = spot_distance(spot, mesial, across, height, np.zeros(4))
    assert found == pytest.approx([0.0, 0.2, 0.3, np.inf])


def test_fissures_shorten_the_occlusal_distance() -> None:
    spot = Spot(16, "occlusal", 0.0, 0.0, 0.3)
    point = np.array([0.5]), np.array([0.3]), np.array([0.9])
    plain, grooved = (spot_distance(spot, *point, np.array([fissure]))[0] for fissure in (0.0, 1.0))
    assert grooved == pytest.approx(plain - 0.28)


def test_facial_distance_is_round_on_the_facial_side_and_infinite_on_the_lingual_one() -> None:
    spot = Spot(11, "facial", 0.0, 0.2, 0.3)
    found = spot_distance(spot, np.zeros(3), np.array([0.5, 0.5, -0.5]), np.array([0.2, 0.3, 0.2]), np.zeros(3))
    assert found == pytest.approx([0.0, 0.22, np.inf])
