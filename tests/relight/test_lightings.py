"""Relit groups: one mouth before one camera, under several lamps."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.conditions.labels import TOOTH
from dentgen.phantom.camera import View
from dentgen.phantom.light import LIGHT_KINDS, sample_lighting, sample_lightings
from dentgen.phantom.noise import LatticeNoise
from dentgen.phantom.patient import build_patient
from dentgen.phantom.photo_session import PhotoSession
from dentgen.phantom.photograph import photograph
from dentgen.phantom.prompt import LIGHT_WORD
from dentgen.phantom.render import Phantom, render_patient
from dentgen.seeding import numpy_generator

VIEWS: tuple[View, ...] = ("frontal", "lower-occlusal")


@pytest.fixture(scope="module")
def relit() -> list[Phantom]:
    return list(render_patient(3, 8, 64, VIEWS, lightings=3))


def same(a: Phantom, b: Phantom) -> bool:
    maps = all((a.maps[name] == b.maps[name]).all() for name in a.maps)
    return maps and (a.picture == b.picture).all() and (a.key, a.prompt) == (b.key, b.prompt)


def test_keys_name_the_lightings(relit: list[Phantom]) -> None:
    keys = [f"s3-p000008-{view}{light}" for view in VIEWS for light in ("", "-l1", "-l2")]
    assert [phantom.key for phantom in relit] == keys
    assert {phantom.group for phantom in relit} == {"s3-p000008"}


def test_the_first_lighting_is_the_record_without_the_option(relit: list[Phantom]) -> None:
    """Further lamps draw from streams of their own."""
    plain = render_patient(3, 8, 64, VIEWS)
    assert all(same(a, b) for a, b in zip(relit[::3], plain, strict=True))


def test_the_first_lighting_draws_from_the_streams_it_always_had() -> None:
    for phantom in render_patient(3, 9, 16):
        lighting = sample_lighting(numpy_generator(3, phantom.key, "light"))
        assert phantom.attributes["lighting"] == lighting.kind
    shot = PhotoSession(3, build_patient(3, "s3-p000008"), 32).shoot("left")
    lighting = sample_lighting(numpy_generator("any"))
    texture = numpy_generator(3, "s3-p000008", "texture")
    LatticeNoise(texture)
    assert (shot.picture(lighting, "") == photograph(shot.sight, lighting, texture)).all()


def test_fewer_lightings_are_the_first_of_more(relit: list[Phantom]) -> None:
    fewer = list(render_patient(3, 8, 64, VIEWS[:1], lightings=2))
    assert all(same(a, b) for a, b in zip(relit, fewer, strict=False))


def test_only_light_differs_within_a_view(relit: list[Phantom]) -> None:
    for first, *others in (relit[:3], relit[3:]):
        for other in others:
            assert {name for name in first.maps if (first.maps[name] != other.maps[name]).any()} == {"light"}
            assert (first.picture != other.picture).any()
            word, other_word = (LIGHT_WORD[phantom.attributes["lighting"]] for phantom in (first, other))  # type: ignore[index]
            assert word != other_word
            assert first.prompt.replace(word, other_word) == other.prompt
            kept = first.attributes.keys() - {"lighting"}
            assert all(first.attributes[name] == other.attributes[name] for name in kept)


def test_pictures_follow_their_lamps(relit: list[Phantom]) -> None:
    """Where one lighting map is brighter than another, the picture tends to be brighter too."""
    agreement = []
    for first, *others in (relit[:3], relit[3:]):
        teeth = first.maps["seg"] == TOOTH
        for other in others:
            clay = other.maps["light"][teeth].astype(float) - first.maps["light"][teeth]
            picture = (other.picture[teeth].astype(float) - first.picture[teeth]).mean(1)
            agreement.append(np.corrcoef(clay, picture)[0, 1])
    assert np.mean(agreement) > 0.5


def test_every_kind_of_light_comes_before_any_comes_again() -> None:
    for patient in range(20):
        kinds = [light.kind for light in sample_lightings(numpy_generator("relit", patient, n) for n in range(13))]
        assert set(kinds[:6]) == set(kinds[6:12]) == set(LIGHT_KINDS)
        assert kinds[0] == sample_lighting(numpy_generator("relit", patient, 0)).kind
