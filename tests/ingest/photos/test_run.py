"""Sets in every format become the same records; nothing is lost without a word."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from dentgen import storage
from dentgen.conditions.decode import decode_record
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.errors import ConditionError, SpecError
from dentgen.ingest.photos.meaning import Meanings
from dentgen.ingest.photos.run import PhotoOutcome, PhotoSet, labels_of, write_photos
from dentgen.records import ConditionRecord
from tests.ingest.photos.annotated_sets import (
    COUNT,
    MEANINGS,
    WRITERS,
    expected_seg,
    outlines,
    photo,
    write_supervisely,
)


def converted(source: Path, out: Path, **options: Any) -> tuple[dict[str, ConditionRecord], PhotoOutcome]:
    """Records by key, and what the conversion says."""
    meanings = options.pop("meanings", Meanings(labels=MEANINGS))
    outcome = write_photos(PhotoSet(str(source), str(out), meanings, **options))
    raws = [raw for shard in list_shards(str(out)) for raw in read_records(shard)] if outcome.written else []
    records = {raw.key: decode_record(raw, ("segmentation", "lighting"), with_photo=True) for raw in raws}
    return records, outcome


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_photographs_give_the_same_records(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / "set")
    records, outcome = converted(tmp_path / "set", tmp_path / "out")
    assert (outcome.written, outcome.refused) == (COUNT, [])
    assert len(records) == COUNT
    for key, record in records.items():
        number = int(key[-1])
        assert key.rsplit("/", 1)[-1] == f"p{number}"
        seg = expected_seg(number)
        assert (record.conditions["segmentation"] == seg).all()
        assert record.fdi is not None
        assert set(np.unique(record.fdi)) == {0, 36, 37}
        assert ((record.fdi > 0) <= (seg == 2)).all()
        lesion = record.conditions["findings"]
        assert set(np.unique(lesion)) == {0, 2, 255}
        assert ((lesion == 255) == (seg == 255)).all()
        assert record.photo is not None
        np.testing.assert_array_equal(record.photo, photo(number))


def test_labels_are_counted_for_a_draft(tmp_path: Path) -> None:
    for name, write in WRITERS.items():
        write(tmp_path / name)
        labels, refused = labels_of(str(tmp_path / name))
        assert labels == dict.fromkeys(MEANINGS, COUNT)
        assert refused == []


def test_what_cannot_be_used_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    write_supervisely(tmp_path / "set")
    (tmp_path / "set" / "ann" / "p0.png.json").write_text("{bad")
    (tmp_path / "set" / "img" / "p1.png").write_bytes(b"junk")
    (tmp_path / "set" / "img" / "p2.png").unlink()
    records, outcome = converted(tmp_path / "set", tmp_path / "out")
    assert outcome.written == len(records) == COUNT - 3
    assert sorted(refusal.name for refusal in outcome.refused) == ["ann/p0.png.json", "ann/p2.png.json", "p1"]


def test_a_label_without_a_meaning_refuses_its_photographs(tmp_path: Path) -> None:
    write_supervisely(tmp_path / "set")
    _, outcome = converted(tmp_path / "set", tmp_path / "out", meanings=Meanings(labels={"gum": "gingiva"}))
    assert outcome.written == 0
    assert len(outcome.refused) == COUNT
    assert "'36'" in outcome.refused[0].reason


def test_names_can_be_replaced_by_digests(tmp_path: Path) -> None:
    write_supervisely(tmp_path / "set")
    meanings = Meanings(labels=MEANINGS, group="p[0-4]|p")
    records, _ = converted(tmp_path / "set", tmp_path / "out", meanings=meanings, name_key=b"k" * 32, license="CC0-1.0")
    assert all(key.startswith("photo-") and len(key) == 26 for key in records)
    assert len({record.group for record in records.values()}) == 6
    told = [raw.members["json"].decode() for shard in list_shards(str(tmp_path / "out")) for raw in read_records(shard)]
    assert not [text for text in told if re.search(r"\bp\d?\b", text)]
    assert {record.license for record in records.values()} == {"CC0-1.0"}
    stored = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert b"k" * 32 not in stored
    with pytest.raises(SpecError):  # names of two secrets must not be mixed
        converted(tmp_path / "set", tmp_path / "out", meanings=meanings, name_key=b"l" * 32, license="CC0-1.0")


@pytest.mark.parametrize("annotated", ["as seen", "as stored"])
def test_pictures_are_turned_by_their_exif_and_lose_it(annotated: str, tmp_path: Path) -> None:
    write_supervisely(tmp_path / "set")
    for path in sorted((tmp_path / "set" / "img").iterdir())[1:]:
        path.unlink()
        (tmp_path / "set" / "ann" / f"{path.name}.json").unlink()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Artist] = 6, "Somebody"
    pixels, seg = photo(0), expected_seg(0)
    if annotated == "as seen":  # 6: the first row is the right side, so pixels are stored turned to the left
        pixels = np.rot90(pixels, 1)
    else:
        seg = np.rot90(seg, -1)
    Image.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / "set" / "img" / "p0.png", exif=exif)
    records, outcome = converted(tmp_path / "set", tmp_path / "out")
    assert outcome.refused == []
    record = records["p0"]
    assert (record.conditions["segmentation"] == seg).all()
    assert record.photo is not None
    np.testing.assert_array_equal(record.photo, np.rot90(pixels, -1))
    assert b"Somebody" not in b"".join(storage.read_bytes(shard.url) for shard in list_shards(str(tmp_path / "out")))


def test_groups_stay_in_one_split_and_named_splits_are_kept(tmp_path: Path) -> None:
    for name in ("train", "valid"):
        write_supervisely(tmp_path / "set" / name)
    meanings = Meanings(labels=MEANINGS, group=r"p\d")
    records, outcome = converted(tmp_path / "set", tmp_path / "out", meanings=meanings)
    assert {record.split for record in records.values()} == {"train", "validation"}
    assert len(outcome.shared_groups) == COUNT, "every patient is in both folders"
    write_supervisely(tmp_path / "flat")
    alone, _ = converted(tmp_path / "flat", tmp_path / "drawn", meanings=Meanings(labels=MEANINGS, group="(p)"))
    assert len({record.split for record in alone.values()}) == 1


def test_large_photographs_are_reduced_with_their_maps(tmp_path: Path) -> None:
    write_supervisely(tmp_path / "set")
    records, _ = converted(tmp_path / "set", tmp_path / "out", edge=48)
    assert {record.shape for record in records.values()} == {(32, 48)}
    assert {record.photo.shape[:2] for record in records.values() if record.photo is not None} == {(32, 48)}


def test_boxes_and_keypoints_are_counted(tmp_path: Path) -> None:
    write_supervisely(tmp_path / "set")
    path = tmp_path / "set" / "ann" / "p0.png.json"
    content = json.loads(path.read_text())
    content["objects"].append({"classTitle": "36", "geometryType": "rectangle", "points": {}})
    path.write_text(json.dumps(content))
    _, outcome = converted(tmp_path / "set", tmp_path / "out")
    assert outcome.skipped == {"rectangle": 1}


def test_two_pictures_of_one_key_are_not_mixed(tmp_path: Path) -> None:
    write_supervisely(tmp_path / "set")
    (tmp_path / "set" / "img" / "p0!.png").write_bytes((tmp_path / "set" / "img" / "p0.png").read_bytes())
    annotation = (tmp_path / "set" / "ann" / "p0.png.json").read_text()
    (tmp_path / "set" / "ann" / "p0!.png.json").write_text(annotation)
    (tmp_path / "set" / "img" / "P0.png").write_bytes((tmp_path / "set" / "img" / "p0.png").read_bytes())
    (tmp_path / "set" / "ann" / "P0.png.json").write_text(annotation)
    records, outcome = converted(tmp_path / "set", tmp_path / "out")
    assert len(records) + len(outcome.refused) == COUNT + 2
    assert len({key.casefold() for key in records}) == len(records)


def test_other_meanings_need_another_folder(tmp_path: Path) -> None:
    write_supervisely(tmp_path / "set")
    converted(tmp_path / "set", tmp_path / "out")
    with pytest.raises(SpecError):
        converted(tmp_path / "set", tmp_path / "out", meanings=Meanings(labels=MEANINGS, rest="background"))


def test_the_lighting_map_is_dark_where_nothing_is_annotated(tmp_path: Path) -> None:
    write_supervisely(tmp_path / "set")
    records, _ = converted(tmp_path / "set", tmp_path / "out")
    for record in records.values():
        light, seg = record.conditions["lighting"], record.conditions["segmentation"]
        assert not light[seg == 255].any()
        for value in (1, 2):
            assert np.median(light[seg == value]) == pytest.approx(128, abs=1)


def test_a_folder_without_annotations_is_no_set(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    Image.fromarray(photo(0)).save(tmp_path / "set" / "x.png")
    with pytest.raises(ConditionError) as caught:
        converted(tmp_path / "set", tmp_path / "out")
    assert "no annotation" in caught.value.found
    assert len(outlines(0)) == 4


def test_a_set_with_other_files_needs_another_folder(tmp_path: Path) -> None:
    """Shards of removed photographs would stay."""
    write_supervisely(tmp_path / "set")
    converted(tmp_path / "set", tmp_path / "out")
    (tmp_path / "set" / "ann" / "p0.png.json").unlink()
    with pytest.raises(SpecError) as caught:
        converted(tmp_path / "set", tmp_path / "out")
    assert str(caught.value.file).endswith("photos.json")


def test_one_picture_is_never_two_records(tmp_path: Path) -> None:
    WRITERS["coco"](tmp_path / "set")
    path = tmp_path / "set" / "annotations.json"
    content = json.loads(path.read_text())
    content["images"][1]["file_name"] = "p0.png"
    path.write_text(json.dumps(content))
    _, outcome = converted(tmp_path / "set", tmp_path / "out")
    assert outcome.written == COUNT - 1
    assert "another annotation" in outcome.refused[0].reason


def test_a_patient_s_other_pictures_follow_the_split_that_is_named(tmp_path: Path) -> None:
    write_supervisely(tmp_path / "set")
    write_supervisely(tmp_path / "set" / "a" / "test")
    records, outcome = converted(tmp_path / "set", tmp_path / "out", meanings=Meanings(labels=MEANINGS, group=r"p\d"))
    assert {record.split for record in records.values()} == {"test"}
    assert outcome.shared_groups == []


def test_names_of_any_script_stay_apart(tmp_path: Path) -> None:
    write_supervisely(tmp_path / "set")
    for old, new in (("p0", "前牙"), ("p1", "后牙")):
        (tmp_path / "set" / "img" / f"{old}.png").rename(tmp_path / "set" / "img" / f"{new}.png")
        (tmp_path / "set" / "ann" / f"{old}.png.json").rename(tmp_path / "set" / "ann" / f"{new}.png.json")
    records, outcome = converted(tmp_path / "set", tmp_path / "out")
    assert (len(records), outcome.refused) == (COUNT, [])


def test_a_set_on_s3_gives_the_same_shards(tmp_path: Path, s3_root: str) -> None:
    write_supervisely(tmp_path / "set")
    there = storage.join(s3_root, "annotated")
    for path in (tmp_path / "set").rglob("*.*"):
        storage.overwrite(storage.join(there, path.parent.name, path.name), path.read_bytes())
    meanings = Meanings(labels=MEANINGS)
    for source, out in ((str(tmp_path / "set"), str(tmp_path / "out")), (there, storage.join(s3_root, "records"))):
        assert write_photos(PhotoSet(source, out, meanings)).written == COUNT
    name = "photos-000000.tar"
    assert storage.read_bytes(storage.join(s3_root, "records", name)) == (tmp_path / "out" / name).read_bytes()
