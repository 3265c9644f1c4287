"""Findings: metadata and prompt mention what is visible in the picture, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dentgen.conditions.labels import APPLIANCE, RESTORATION
from dentgen.phantom.camera import VIEWS
from dentgen.phantom.lesions import Lesions, sample_lesions
from dentgen.phantom.light import sample_lighting
from dentgen.phantom.patient import build_patient
from dentgen.phantom.photo_session import PhotoSession
from dentgen.phantom.render import Phantom, render_patient
from dentgen.phantom.style import sample_shape
from dentgen.seeding import numpy_generator

#: 14, 24, 26 and 46 are missing; 16 has a filling on its biting surface.
GAPPED = 45
#: 26 and 36 are filled on their biting surfaces, 11 is crowned; 32 and 41 are decayed on the face, 27 in its fissures.
RESTORED = 4
#: Both arches wear braces; no lesions.
BRACED = 2


def views_of(number: int) -> dict[str, Phantom]:
    return {str(phantom.attributes["view"]): phantom for phantom in render_patient(7, number, 96)}


@pytest.fixture(scope="module")
def gapped() -> dict[str, Phantom]:
    return views_of(GAPPED)


@pytest.fixture(scope="module")
def restored() -> dict[str, Phantom]:
    return views_of(RESTORED)


def lesions_of(number: int) -> Lesions:
    return sample_lesions("permanent", numpy_generator(7, f"s7-p{number:06d}", "lesions"))


def test_the_patients_have_the_lesions_that_the_tests_rely_on() -> None:
    assert sample_shape(numpy_generator(7, "s7-p000045", "shape")).missing == {14, 24, 26, 46}
    gapped, restored = lesions_of(GAPPED), lesions_of(RESTORED)
    assert [(filling.spot.fdi, filling.spot.surface) for filling in gapped.fillings] == [(16, "occlusal")]
    assert not gapped.crowns
    assert [(filling.spot.fdi, filling.kind) for filling in restored.fillings] == [(26, "amalgam"), (36, "composite")]
    assert restored.crowns == {11: "ceramic"}
    assert {(caries.spot.fdi, caries.spot.surface) for caries in restored.caries} == {
        (32, "facial"), (41, "facial"), (27, "occlusal"),
    }  # fmt: skip
    assert build_patient(7, "s7-p000002").shape.braced == {"upper", "lower"}


@pytest.mark.slow
def test_gaps_are_counted_between_visible_neighbours(gapped: dict[str, Phantom]) -> None:
    pairs = [{13, 15}, {23, 25}, {25, 27}, {45, 47}]
    for phantom in gapped.values():
        fdi = phantom.maps["fdi"]
        assert not np.isin(fdi, [14, 24, 26, 46]).any()
        seen = {number for pair in pairs for number in pair if (fdi == number).mean() >= 0.002}
        assert phantom.attributes["missing_teeth"] == sum(pair <= seen for pair in pairs), phantom.key
        several = int(phantom.attributes["missing_teeth"]) > 1
        assert ("missing teeth" in phantom.prompt) == several
    assert gapped["upper-occlusal"].attributes["missing_teeth"] == 3
    assert gapped["lower-occlusal"].attributes["missing_teeth"] == 1


@pytest.mark.slow
def test_visible_restorations_are_counted_named_and_labelled(restored: dict[str, Phantom]) -> None:
    """Biting surfaces are visible in occlusal views and hidden between closed arches."""
    for view, teeth, words in (
        ("upper-occlusal", {11, 26}, ["amalgam filling", "ceramic crown"]),
        ("lower-occlusal", {36}, ["tooth-coloured filling"]),
        ("frontal", {11}, ["ceramic crown"]),
    ):
        phantom = restored[view]
        seg, fdi = phantom.maps["seg"], phantom.maps["fdi"]
        assert set(np.unique(fdi[seg == RESTORATION]).tolist()) == teeth
        assert phantom.attributes["restorations"] == len(teeth)
        named = [word for word in phantom.prompt.split(", ") if "filling" in word or "crown" in word]
        assert named == words, view
    assert ((restored["frontal"].maps["fdi"] == 11) == (restored["frontal"].maps["seg"] == RESTORATION)).all()


@pytest.mark.slow
def test_decay_is_counted_and_darkens_the_picture(restored: dict[str, Phantom]) -> None:
    found = {view: phantom.attributes["caries"] for view, phantom in restored.items()}
    assert found["upper-occlusal"] == 1
    assert found["frontal"] in {1, 2}
    assert "caries" in restored["frontal"].prompt
    shot = PhotoSession(7, build_patient(7, "s7-p000004"), 96).shoot("frontal")
    coat, fdi = shot.sight.centres.coat, shot.maps["fdi"].ravel()
    picture = restored["frontal"].picture.reshape(-1, 3).mean(1)
    decayed = coat.decayed > 0.9
    for tooth in (32, 41):
        sound = (fdi == tooth) & (coat.decayed == 0)
        assert picture[decayed & (fdi == tooth)].mean() < 0.92 * picture[sound].mean()


@pytest.mark.slow
@pytest.mark.parametrize("film", ["plaque", "stain"])
def test_films_are_mentioned_if_they_change_the_picture(film: str) -> None:
    """A film that is mentioned changes the picture, one that is not hardly does."""
    mentioned = 0
    for number in range(60, 63):
        patient = build_patient(7, f"s7-p{number:06d}")
        for view in VIEWS[0], VIEWS[3]:
            session, clean = PhotoSession(7, patient, 64), PhotoSession(7, patient, 64)
            for one, amount in ((session, 0.9), (clean, 0.0)):
                lesions = one._material.lesions
                plaque, stain = (amount if film == name else getattr(lesions, name) for name in ("plaque", "stain"))
                one._material = replace(one._material, lesions=replace(lesions, plaque=plaque, stain=stain))
            soiled, bare = session.shoot(view), clean.shoot(view)
            light = sample_lighting(numpy_generator("films", number), {"harsh"})
            changed = (np.abs(soiled.picture(light, "").astype(int) - bare.picture(light, "")).max(-1) > 8).mean()
            sign = soiled.facts.findings.signs[film]
            assert bare.facts.findings.signs[film] == "no"
            assert changed > 0.001 if sign == "yes" else changed < 0.012, (number, view, sign, changed)
            mentioned += sign == "yes"
    assert mentioned >= 2


@pytest.mark.slow
def test_appliances_have_a_class_of_their_own() -> None:
    """Brackets hide their teeth and are in every map."""
    for phantom in views_of(BRACED).values():
        worn = phantom.maps["seg"] == APPLIANCE
        assert phantom.attributes["braces"] == ("yes" if worn.mean() >= 2e-4 else "no")
        assert "braces" in phantom.prompt
        assert not phantom.maps["fdi"][worn].any()
        assert phantom.maps["depth"][worn].all()
        assert phantom.maps["light"][worn].any()
        assert phantom.attributes["restorations"] == phantom.attributes["caries"] == 0
    assert (views_of(GAPPED)["frontal"].maps["seg"] != APPLIANCE).all()
