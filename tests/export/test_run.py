"""Exports are complete, continue where they stopped, and refuse to mix."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dentgen import storage
from dentgen.errors import SpecError
from dentgen.export.run import FORMATS, STATE, Export, export
from dentgen.shards.index_reader import index_sha256
from dentgen.shards.selection_file import Selection, write_selection
from dentgen.shards.tar import png_bytes
from tests.conftest import write_tar
from tests.export.hard_sets import write_hard_set
from tests.export.interruption import interrupt_second_shard
from tests.report.fake_builds import fake_build, rejected, written

MEMBERS = {"seg.png": png_bytes(np.ones((8, 8), np.uint8)), "photo.png": png_bytes(np.ones((8, 8, 3), np.uint8))}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("layout", FORMATS)
def test_every_layout_takes_builds_and_condition_sets(layout: Any, tmp_path: Path) -> None:
    write_hard_set(tmp_path / "set", broken=True)
    fake_build(tmp_path / "build", [written(0), rejected(1, "x"), written(2)])
    for source, count, lost in (("set", 5, ["torn"]), ("build", 4, [])):
        task = Export(str(tmp_path / source), str(tmp_path / f"out-{source}"), layout)
        outcome = export(task, workers=1)
        assert outcome.written == count
        assert [rejection.key for rejection in outcome.rejected] == lost


@pytest.mark.parametrize("layout", ["coco", "parquet"])
def test_an_interrupted_export_continues_to_the_same_files(
    layout: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_hard_set(tmp_path / "set")
    whole = Export(str(tmp_path / "set"), str(tmp_path / "whole"), layout)
    export(whole, workers=1)
    broken = Export(str(tmp_path / "set"), str(tmp_path / "broken"), layout)
    calls = interrupt_second_shard(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        export(broken, workers=1)
    assert export(broken, workers=1).written == 5
    assert calls == ["000000", "000001", "000001"], "the first shard was not read again"
    assert files(tmp_path / "broken") == files(tmp_path / "whole")


def test_processes_write_what_one_process_writes(tmp_path: Path) -> None:
    write_hard_set(tmp_path / "set")
    for name, workers in (("one", 1), ("two", 2)):
        export(Export(str(tmp_path / "set"), str(tmp_path / name), "coco"), workers=workers)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_another_export_into_the_same_folder_is_refused(tmp_path: Path) -> None:
    write_hard_set(tmp_path / "set")
    export(Export(str(tmp_path / "set"), str(tmp_path / "out"), "coco"), workers=1)
    for other in (
        Export(str(tmp_path / "set"), str(tmp_path / "out"), "voc"),
        Export(str(tmp_path / "set"), str(tmp_path / "out"), "coco", masks="polygon"),
    ):
        with pytest.raises(SpecError) as caught:
            export(other, workers=1)
        assert str(caught.value.file).endswith(f"{STATE}/export.json")


def test_a_destination_in_the_source_is_refused(tmp_path: Path) -> None:
    write_hard_set(tmp_path / "set")
    with pytest.raises(SpecError) as caught:
        export(Export(str(tmp_path / "set"), str(tmp_path / "set" / "out"), "coco"), workers=1)
    assert caught.value.key == "destination"


@pytest.mark.parametrize(
    ("split", "kept"), [("val", "validation"), ("Valid", "validation"), ("dev", "validation"), ("fold_3", "fold_3")]
)
def test_splits_get_their_usual_names(split: str, kept: str, tmp_path: Path) -> None:
    write_tar(tmp_path / "set" / "a.tar", {"x": {**MEMBERS, "json": json.dumps({"split": split}).encode()}})
    task = Export(str(tmp_path / "set"), str(tmp_path / "out"), "coco")
    assert export(task, workers=1).written == 1
    assert (tmp_path / "out" / "images" / kept / "x.png").is_file()
    other = export(Export(task.source, str(tmp_path / "yolo"), "yolo-semantic"), workers=1)
    assert (other.written, len(other.rejected)) == ((1, 0) if kept == "validation" else (0, 1))


@pytest.mark.parametrize("split", ["../../x", "a/b", "x" * 99, ".", "a b"])
def test_a_split_never_leaves_the_destination(split: str, tmp_path: Path) -> None:
    records = {"x": {**MEMBERS, "json": json.dumps({"split": split}).encode()}, "y": MEMBERS}
    write_tar(tmp_path / "set" / "a.tar", records)
    for layout in FORMATS:
        outcome = export(Export(str(tmp_path / "set"), str(tmp_path / "deep" / layout), layout), workers=1)
        assert (outcome.written, [rejection.key for rejection in outcome.rejected]) == (1, ["x"])
    assert {path.name for path in tmp_path.iterdir()} == {"set", "deep"}
    assert {path.name for path in (tmp_path / "deep").iterdir()} == set(FORMATS)


def test_a_torn_shard_is_told_the_rest_is_exported_and_it_is_tried_again(tmp_path: Path) -> None:
    write_hard_set(tmp_path / "set")
    whole = (tmp_path / "set" / "a.tar").read_bytes()
    (tmp_path / "set" / "a.tar").write_bytes(whole[: len(whole) // 2])
    task = Export(str(tmp_path / "set"), str(tmp_path / "out"), "coco")
    for _ in range(2):
        outcome = export(task, workers=1)
        assert outcome.written == 2
        assert [rejection.key for rejection in outcome.rejected] == ["000000"]
    assert not (tmp_path / "out" / STATE / "000000.json").exists()


@pytest.mark.parametrize("content", [b"{bad", b"[" * 100_000, b"3"])
def test_damaged_metadata_reject_their_record_alone(content: bytes, tmp_path: Path) -> None:
    write_tar(tmp_path / "set" / "a.tar", {"x": {**MEMBERS, "json": content}, "y": MEMBERS})
    outcome = export(Export(str(tmp_path / "set"), str(tmp_path / "out"), "coco"), workers=1)
    assert (outcome.written, [rejection.key for rejection in outcome.rejected]) == (1, ["x"])


def test_what_the_build_rejected_and_groups_in_two_splits_are_said(tmp_path: Path) -> None:
    fake_build(tmp_path / "build", [written(0), rejected(1, "x"), written(2)])
    outcome = export(Export(str(tmp_path / "build"), str(tmp_path / "out"), "csv"), workers=1)
    assert (outcome.written, outcome.left_out) == (4, 2)
    assert outcome.shared_groups == 1, "patient-0 has records of both splits"


def test_teeth_without_numbers_are_counted_where_they_have_no_instance(tmp_path: Path) -> None:
    write_tar(tmp_path / "set" / "a.tar", {"x": {**MEMBERS, "seg.png": png_bytes(np.full((8, 8), 2, np.uint8))}})
    for layout, count in (("yolo-segment", 64), ("yolo-detect", 64), ("coco", 0)):
        task = Export(str(tmp_path / "set"), str(tmp_path / layout), layout)  # type: ignore[arg-type]
        assert export(task, workers=1).unnumbered == count


def test_records_with_numbers_alone_are_exported(tmp_path: Path) -> None:
    members = {"fdi.png": png_bytes(np.full((8, 8), 11, np.uint8)), "photo.png": MEMBERS["photo.png"]}
    write_tar(tmp_path / "set" / "a.tar", {"x": members})
    assert export(Export(str(tmp_path / "set"), str(tmp_path / "out"), "yolo-detect"), workers=1).written == 1
    assert (tmp_path / "out" / "labels" / "train" / "x.txt").read_text().split()[1:] == ["0.500000"] * 2 + [
        "1.000000"
    ] * 2


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    write_hard_set(tmp_path / "set")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.png").write_bytes(b"")
    with pytest.raises(SpecError) as caught:
        export(Export(str(tmp_path / "set"), str(tmp_path / "out"), "coco"), workers=1)
    assert caught.value.found == "files such as 'mine.png'"


def test_an_option_of_another_layout_changes_nothing(tmp_path: Path) -> None:
    write_hard_set(tmp_path / "set")
    export(Export(str(tmp_path / "set"), str(tmp_path / "out"), "voc", teeth="one"), workers=1)
    assert export(Export(str(tmp_path / "set"), str(tmp_path / "out"), "voc"), workers=1).written == 5


@pytest.mark.parametrize(("one", "other"), [("x/y", "x__Y"), ("é", "e\u0301")])
def test_keys_that_become_one_file_are_refused(one: str, other: str, tmp_path: Path) -> None:
    write_tar(tmp_path / "set" / "a.tar", {one: MEMBERS, other: MEMBERS})
    with pytest.raises(SpecError) as caught:
        export(Export(str(tmp_path / "set"), str(tmp_path / "out"), "coco"), workers=1)
    assert repr(one) in str(caught.value.found)


def test_a_key_in_two_shards_is_refused(tmp_path: Path) -> None:
    for name in ("a.tar", "b.tar"):
        write_tar(tmp_path / "set" / name, {"x": MEMBERS})
    with pytest.raises(SpecError) as caught:
        export(Export(str(tmp_path / "set"), str(tmp_path / "out"), "coco"), workers=1)
    assert caught.value.found == "keys 'x' and 'x'"


@pytest.mark.integration
def test_an_export_from_and_to_s3_has_the_same_files(tmp_path: Path, s3_root: str) -> None:
    write_hard_set(tmp_path / "set")
    for path in (tmp_path / "set").iterdir():
        storage.overwrite(storage.join(s3_root, "export-set", path.name), path.read_bytes())
    there = storage.join(s3_root, "exported")
    export(Export(storage.join(s3_root, "export-set"), there, "yolo-segment"), workers=1)
    export(Export(str(tmp_path / "set"), str(tmp_path / "here"), "yolo-segment"), workers=1)
    here = {name: data for name, data in files(tmp_path / "here").items() if not name.startswith(STATE)}
    assert {name: storage.read_bytes(storage.join(there, *name.split("/"))) for name in here} == here


def test_a_selection_is_exported_alone_and_is_another_export(tmp_path: Path) -> None:
    build, file = str(tmp_path / "build"), str(tmp_path / "chosen.parquet")
    fake_build(tmp_path / "build", [written(0), written(1), written(2)])
    chosen = Selection(index_sha256(build), ("jaw-002-v001", "jaw-000-v000"), ("000002.tar", "000000.tar"))
    write_selection(file, chosen)
    task = Export(build, str(tmp_path / "out"), "csv", selection=file)
    assert export(task, workers=1).written == 2
    assert {path.stem for path in (tmp_path / "out" / "images").rglob("*.png")} == set(chosen.keys)
    assert export(task, workers=1).written == 2, "continued"
    for other in (None, ("jaw-002-v001",)):
        if other is not None:
            write_selection(file, Selection(chosen.index_sha256, other, ("000002.tar",)))
        with pytest.raises(SpecError) as caught:
            export(replace(task, selection=None if other is None else file), workers=1)
        assert str(caught.value.file).endswith(f"{STATE}/export.json")
