"""Synthetic records and builds are read with their labels; cores lie well inside teeth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import label

from dentgen.conditions.labels import IGNORE
from dentgen.errors import ConditionError
from dentgen.evaluation.photos.labelled_images import LabelledImages, fitted, labelled, read_synthetic
from dentgen.phantom.render import render_patient
from dentgen.phantom.shards import phantom_members
from dentgen.phantom.surroundings.mix import Mix
from tests.conftest import write_tar


@pytest.mark.integration
def test_records_of_a_varied_set(tmp_path: Path) -> None:
    phantoms = list(render_patient(5, 2, 48, ("frontal", "upper-occlusal"), mix=Mix(disease=1.0)))
    write_tar(tmp_path / "x.tar", {phantom.key: phantom_members(phantom) for phantom in phantoms})
    found = read_synthetic(str(tmp_path), 10, 48)
    by_key = {phantom.key: phantom for phantom in phantoms}
    for place, key in enumerate(found.keys):
        maps = by_key[key].maps
        assert (found.images[place] == by_key[key].picture).all()
        assert ((found.tooth[place] == 1) == np.isin(maps["seg"], (2, 4))).all()
        assert (found.instances[place] == maps["fdi"]).all()
        assert (found.numbers[place] == maps["fdi"]).all()
        assert ((found.lesion[place] == 1) == np.isin(maps["lesion"], (2, 3, 4))).all()
    assert len(read_synthetic(str(tmp_path), 1, 48)) == 1


def test_without_a_lesion_map_lesions_are_unknown_and_appliances_hide_teeth() -> None:
    seg = np.array([[0, 2], [4, 5]], np.uint8)
    _, _, tooth, _, lesion, _ = labelled("k", np.zeros((2, 2, 3), np.uint8), seg, seg, None)
    assert tooth.tolist() == [[0, 1], [1, IGNORE]]
    assert (lesion == IGNORE).all()


def test_cores_of_touching_teeth_are_apart_and_grow_with_them() -> None:
    instances = np.zeros((1, 40, 40), np.uint8)
    instances[0, 4:34, 1:13], instances[0, 4:34, 13:37] = 7, 9
    tooth = (instances > 0).astype(np.uint8)
    tooth[0, 39] = IGNORE
    images = LabelledImages(("k",), np.zeros((1, 40, 40, 3), np.uint8), tooth, instances, tooth, tooth)
    core = images.cores()[0]
    assert (core[39] == IGNORE).all()
    numbers, count = label(core == 1)
    assert count == 2
    for tooth_number, inside in ((7, (6, 6)), (9, (24, 10))):  # place in the middle, width of the core
        held = (core == 1) & (instances[0] == tooth_number)
        assert held[19, inside[0]]
        assert held[19].sum() == pytest.approx(inside[1], abs=4)
        assert len(np.unique(numbers[held])) == 1
    assert (core[instances[0] == 0] != 1).all()


def test_a_tooth_that_leaves_the_picture_keeps_its_core_there() -> None:
    instances = np.zeros((2, 16, 16), np.uint8)
    instances[0, :, 8:], instances[1] = 3, 3
    tooth = (instances > 0).astype(np.uint8)
    images = LabelledImages(("a", "b"), np.zeros((2, 16, 16, 3), np.uint8), tooth, instances, tooth, tooth)
    core = images.cores()
    assert (core[0, :, 13:] == 1).all()
    assert (core[0, :, :10] == 0).all()
    assert (core[1] == 1).all(), "a tooth that fills the picture is all core"


def test_maps_of_any_aspect_are_padded_like_their_image() -> None:
    seg = np.zeros((16, 32), np.uint8)
    seg[:, :16] = 2
    image = np.repeat((seg * 100)[..., None], 3, 2)
    _, square, tooth, instances, lesion, numbers = fitted(labelled("k", image, seg, seg, None), 32)
    assert square.shape == (32, 32, 3)
    assert (tooth[[0, -1]] == IGNORE).all()
    assert (lesion == IGNORE).all()
    assert ((tooth == 1) == (square[..., 0] == 200)).all()
    assert ((instances == 2) == (tooth == 1)).all()
    assert (numbers[tooth == 1] == 2).all()


def test_records_without_a_picture_are_named(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    key, members = next(iter(demo_members.items()))
    kept = {name: content for name, content in members.items() if not name.startswith("photo")}
    write_tar(tmp_path / "x.tar", {key: kept})
    with pytest.raises(ConditionError) as caught:
        read_synthetic(str(tmp_path), 5, 48)
    assert caught.value.file.endswith(key)
