"""Exports are complete, continue where they stopped, and refuse to mix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dentgen import storage
from dentgen.errors import SpecError
from dentgen.export import run
from dentgen.export.run import FORMATS, STATE, Export, export
from dentgen.shards.tar import png_bytes
from tests.conftest import write_tar
from tests.export.hard_sets import write_hard_set
from tests.report.fake_builds import fake_build, rejected, written


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("layout", FORMATS)
def test_every_layout_takes_builds_and_condition_sets(layout: Any, tmp_path: Path) -> None:
    write_hard_set(tmp_path / "set", broken=True)
    fake_build(str(tmp_path / "build"), [written(0), rejected(1, "x"), written(2)])
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
    real, calls = run.read_unit, []

    def interrupted(place: str, unit: Any) -> Any:
        calls.append(unit.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(place, unit)

    monkeypatch.setattr(run, "read_unit", interrupted)
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


def test_keys_that_become_one_file_are_refused(tmp_path: Path) -> None:
    members = {"seg.png": png_bytes(np.ones((8, 8), np.uint8)), "photo.png": png_bytes(np.ones((8, 8, 3), np.uint8))}
    write_tar(tmp_path / "set" / "a.tar", {"x/y": members, "x__Y": members})
    with pytest.raises(SpecError) as caught:
        export(Export(str(tmp_path / "set"), str(tmp_path / "out"), "coco"), workers=1)
    assert "'x/y'" in str(caught.value.found)


def test_an_export_from_and_to_s3_has_the_same_files(tmp_path: Path, s3_root: str) -> None:
    write_hard_set(tmp_path / "set")
    for path in (tmp_path / "set").iterdir():
        storage.overwrite(storage.join(s3_root, "export-set", path.name), path.read_bytes())
    there = storage.join(s3_root, "exported")
    export(Export(storage.join(s3_root, "export-set"), there, "yolo-segment"), workers=1)
    export(Export(str(tmp_path / "set"), str(tmp_path / "here"), "yolo-segment"), workers=1)
    here = {name: data for name, data in files(tmp_path / "here").items() if not name.startswith(STATE)}
    assert {name: storage.read_bytes(storage.join(there, *name.split("/"))) for name in here} == here
