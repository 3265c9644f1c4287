"""Records of varied sets: reproducible, exact in all maps, and truly described."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.ndimage import label

from dentgen.conditions.labels import DAM, GINGIVA, IGNORE, INSTRUMENT, RESTORATION, SEG_CLASSES, SKIN, TOOTH
from dentgen.conditions.lesion_map import AMALGAM, CARIES, CAVITY, FRACTURE, GOLD_INLAY, INFLAMED_GUM, LESIONS
from dentgen.phantom.anatomy import Dentition
from dentgen.phantom.camera import View
from dentgen.phantom.light import sample_lighting
from dentgen.phantom.mesh import Tissue
from dentgen.phantom.prompt import LESION_WORD, THING_WORD, phantom_phrases
from dentgen.phantom.render import Phantom, phantom_group, render_patient
from dentgen.phantom.surroundings.frame import sample_frame
from dentgen.phantom.surroundings.mix import Mix
from dentgen.phantom.surroundings.outside import sample_outside
from dentgen.phantom.surroundings.varied_session import VariedSession
from dentgen.seeding import numpy_generator

SIZE = 64
MIX = Mix(props={"probe": 0.3, "mirror": 0.3, "suction": 0.3, "finger": 0.3, "cotton": 0.3}, dam=1.0, disease=1.0)


@cache
def records() -> tuple[Phantom, ...]:
    return tuple(phantom for number in (0, 2) for phantom in render_patient(5, number, SIZE, mix=MIX))


@pytest.mark.integration
def test_a_record_is_the_same_alone_and_again() -> None:
    (again,) = render_patient(5, 2, SIZE, ("lower-occlusal",), mix=MIX)
    first = next(phantom for phantom in records() if phantom.group == again.group and again.key == phantom.key)
    assert (again.picture == first.picture).all()
    assert all((again.maps[name] == first.maps[name]).all() for name in first.maps)
    assert again.prompt == first.prompt


def test_keys_name_group_framing_and_view() -> None:
    for phantom in records():
        assert phantom.key == f"{phantom.group}-{phantom.attributes['framing']}-{phantom.attributes['view']}"


def test_maps_agree_with_each_other() -> None:
    seen = set.union(*(classes_of_exact(phantom) for phantom in records()))
    assert {SKIN, INSTRUMENT, DAM} <= seen


def classes_of_exact(phantom: Phantom) -> set[int]:
    """The classes of a record whose maps obey all laws."""
    seg, fdi, lesion = (phantom.maps[name] for name in ("seg", "fdi", "lesion"))
    crown = np.isin(seg, (TOOTH, RESTORATION))
    assert ((fdi > 0) == crown).all()
    assert crown[(lesion > 0) & (lesion != INFLAMED_GUM)].all()
    assert (seg[lesion == INFLAMED_GUM] == GINGIVA).all()
    assert (np.isin(lesion, range(AMALGAM, GOLD_INLAY + 1)) == (seg == RESTORATION)).all()
    solid = crown | (seg == GINGIVA) | (seg == 5)
    for name in ("light", "depth"):
        assert (phantom.maps[name][~solid] == 0).all()
    assert ((phantom.maps["normal"] > 0).any(-1) == solid).all()
    assert set(np.unique(seg).tolist()) <= set(SEG_CLASSES)
    assert set(np.unique(lesion).tolist()) <= set(LESIONS)
    return set(np.unique(seg).tolist())


def test_teeth_are_in_every_picture() -> None:
    for phantom in records():
        least = 0.006 if phantom.attributes["framing"] == "face" else 0.02
        assert np.isin(phantom.maps["seg"], (TOOTH, RESTORATION)).mean() >= least


def test_prompts_name_what_is_there_and_nothing_else() -> None:
    for phantom in records():
        assert_told_truly(phantom)


def assert_told_truly(phantom: Phantom) -> None:
    phrases = phantom_phrases(phantom.prompt)
    assert phrases is not None
    seg, fdi, lesion = (phantom.maps[name] for name in ("seg", "fdi", "lesion"))
    assert (THING_WORD["dam"] in phrases) == (seg == DAM).any()
    things = str(phantom.attributes["things"])
    assert not set(things.split(", ")) & {"probe", "mirror", "suction", "cotton"} or (seg == INSTRUMENT).any()
    assert {THING_WORD[thing] for thing in things.split(", ") if thing != "none"} <= set(phrases)
    for value, word in ((CAVITY, LESION_WORD["cavity"]), (FRACTURE, LESION_WORD["fracture"])):
        assert (word in phrases) == ((lesion == value).mean() >= 2e-4)
    upper = np.isin(fdi[fdi > 0] // 10, (1, 2, 5, 6)).mean()
    assert phantom.attributes["arch"] == ("lower" if upper < 0.05 else "upper" if upper > 0.95 else "both")


@pytest.mark.long
def test_a_thousand_records_obey_all_laws() -> None:
    classes: set[int] = set()
    count = 0
    for number in range(200):
        for phantom in render_patient(11, number, SIZE, mix=MIX):
            classes |= classes_of_exact(phantom)
            assert_told_truly(phantom)
            count += 1
    assert count == 1000
    assert classes == set(SEG_CLASSES) - {IGNORE}


def test_decay_is_darker_than_the_tooth_around_it() -> None:
    darker = []
    for phantom in records():
        fdi, lesion = phantom.maps["fdi"], phantom.maps["lesion"]
        for tooth in np.unique(fdi[np.isin(lesion, (CARIES, CAVITY))]):
            decayed = (fdi == tooth) & np.isin(lesion, (CARIES, CAVITY))
            sound = (fdi == tooth) & (lesion == 0)
            if decayed.sum() >= 12 and sound.sum() >= 12:
                darker.append(phantom.picture[decayed].mean() < phantom.picture[sound].mean())
    assert len(darker) >= 3
    assert np.mean(darker) > 0.8


@pytest.mark.integration
def test_gum_labelled_as_inflamed_is_redder_than_the_same_gum_without() -> None:
    mix = Mix(framings={"clinical": 1.0}, props={}, frames=0, faults=0, mirrored=0)
    shots = []
    for amount in (0.05, 1.2):
        session = VariedSession(14, phantom_group(14, 2), "permanent", 64, mix)
        session._material = replace(session._material, inflammation=amount)
        shots.append(session.shoot("frontal"))
    labelled = shots[1].maps["lesion"] == INFLAMED_GUM
    assert labelled.sum() >= 50
    pictures = [shot.picture(sample_lighting(numpy_generator("lamp")), "").astype(float) + 1 for shot in shots]
    sound, inflamed = ((picture[..., 0] / picture[..., 1])[labelled] for picture in pictures)
    assert (inflamed > sound).mean() > 0.9


def test_the_brightest_flesh_has_a_colour_in_every_light() -> None:
    """More than all light reflected has no interreflection: its roots would be of negative numbers."""
    mix = Mix(framings={"clinical": 1.0}, props={}, frames=0, faults=0, mirrored=0)
    session = VariedSession(12, phantom_group(12, 1), "permanent", 32, mix)
    session._material = replace(session._material, palate=np.full(3, 1.7))
    shot = session.shoot("upper-occlusal")
    assert shot.sight.centres.coat.albedo.max() == pytest.approx(1.25)
    with np.errstate(invalid="raise"):
        picture = shot.picture(sample_lighting(numpy_generator("lamp")), "")
    palate = (shot.sight.centres.surface.tissue == Tissue.PALATE).reshape(32, 32)
    assert picture[palate].mean() > 100


@pytest.mark.integration
def test_no_ground_is_seen_through_a_mouth() -> None:
    mix = Mix(framings={"smile": 1.0, "face": 1.0}, frames=0)
    for number in range(2):
        dentition: Dentition = "deciduous" if number == 0 else "permanent"
        session = VariedSession(78, phantom_group(78, number, dentition), dentition, 64, mix)
        for view in ("left", "right"):
            tissue = session.shoot(view).sight.centres.surface.tissue.reshape(64, 64)
            areas, count = label(np.isin(tissue, (0, Tissue.GROUND)))
            border = {*areas[0], *areas[-1], *areas[:, 0], *areas[:, -1]}
            assert set(range(1, count + 1)) <= border


@pytest.mark.integration
@pytest.mark.parametrize(("view", "mirrored"), [("frontal", "no"), ("upper-occlusal", "yes")])
def test_borders_at_one_side_have_no_labels(view: View, mirrored: str) -> None:
    mix = Mix(framings={"clinical": 1.0}, frames=1.0, mirrored=1.0, props={}, children=0)
    framed = [(n, sample_frame(1.0, numpy_generator(6, f"{phantom_group(6, n)}-{view}", "frame"))) for n in range(60)]
    one_sided = [(number, frame) for number, frame in framed if frame and frame.margins[1] != frame.margins[3]]
    for number, frame in one_sided[:2]:
        (phantom,) = render_patient(6, number, 48, (view,), mix=mix)
        hidden = ~frame.visible(48)
        assert phantom.attributes["mirrored"] == mirrored
        for kind in ("seg", "fdi", "lesion", "light", "normal", "depth"):
            assert not phantom.maps[kind][hidden].any()
        assert (phantom.maps["curvature"][hidden] == 128).all()
        assert (phantom.picture[hidden] == frame.border).mean() > 0.95
        beside = np.roll(hidden, 2, 1) | np.roll(hidden, -2, 1)
        assert (phantom.maps["seg"][beside & ~hidden] > 0).mean() > 0.3
    assert one_sided


@pytest.mark.integration
def test_retractors_are_instruments_and_hands_are_skin() -> None:
    mix = Mix(framings={"clinical": 1.0}, props={}, dam=0)
    seen = set()
    for number in range(8):
        (phantom,) = render_patient(6, number, 32, ("frontal",), mix=mix)
        outside = sample_outside(numpy_generator(6, f"{phantom.group}-frontal", "outside"))
        assert (phantom.maps["seg"] == INSTRUMENT).any() == outside.retractor
        seen.add(outside.retractor)
    assert seen == {True, False}


@pytest.mark.parametrize("framing", ["smile", "face"])
def test_faces_show_skin_around_teeth(framing: str) -> None:
    mix = Mix(framings={framing: 1.0})  # type: ignore[dict-item]
    (phantom,) = render_patient(5, 1, SIZE, ("frontal",), mix=mix)
    seg = phantom.maps["seg"]
    assert (seg == SKIN).mean() > 0.4
    assert np.isin(seg, (TOOTH, RESTORATION)).any()
    edge = np.concatenate([seg[0], seg[-1], seg[:, 0], seg[:, -1]])
    assert not np.isin(edge, (TOOTH, RESTORATION, GINGIVA)).any()
