"""Synthetic records and builds are read with their labels; borders lie between touching teeth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

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


def test_borders_lie_where_teeth_touch_and_nowhere_else() -> None:
    instances = np.zeros((1, 12, 12), np.uint8)
    instances[0, 2:8, 1:5], instances[0, 2:8, 5:8], instances[0, 2:8, 9:11] = 7, 9, 3
    tooth = (instances > 0).astype(np.uint8)
    tooth[0, 11] = IGNORE
    images = LabelledImages(("k",), np.zeros((1, 12, 12, 3), np.uint8), tooth, instances, tooth, tooth)
    border = images.borders()[0]
    assert (border[11] == IGNORE).all()
    assert (border[3:7, 4:6] == 1).all()
    assert (border[3:7, 8] == 1).all(), "a gap of a pixel parts teeth, too"
    assert (border[:, [0, 1, 2, 11]][:11] == 0).all()
    assert (border[[0, 9, 10]] == 0).all()


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
