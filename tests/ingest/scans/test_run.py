"""Sets of scans: all that can be used is written once, the rest is named, and patients stay in one split."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dentgen import storage
from dentgen.conditions.decode import decode_record
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.errors import SpecError, StorageError
from dentgen.ingest.scans.orientation import Orientation
from dentgen.ingest.scans.patients import ScanFile, find_patients
from dentgen.ingest.scans.posed_scan import PosedScan, read_scan
from dentgen.ingest.scans.run import PARAMETERS, ScanResult, ScanSet, _write_patient, parse_views, total, write_scans
from dentgen.phantom.camera import View
from dentgen.pipeline.run import build
from dentgen.records import ConditionName, ConditionRecord
from tests.conftest import small_spec
from tests.ingest.scans.jaws import cast, jaws, write_obj, write_teeth3ds, write_unlabelled


def write_set(folder: Path) -> None:
    write_teeth3ds(folder / "a" / "p1_upper.obj", cast("upper-occlusal"), "upper")
    write_teeth3ds(folder / "a" / "p1_lower.obj", cast("lower-occlusal"), "lower")
    write_obj(folder / "other.obj", cast("upper-occlusal"))


def records_of(
    out: Path, wanted: tuple[ConditionName, ...] = ("segmentation", "lighting", "normal", "depth")
) -> list[ConditionRecord]:
    raws = [raw for shard in list_shards(str(out)) for raw in read_records(shard)]
    return [decode_record(raw, wanted, with_photo=True) for raw in raws]


def test_every_scan_is_rendered_once(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    task = ScanSet(
        str(tmp_path / "set"), str(tmp_path / "out"), size=24, views=("left", "lower-occlusal"), license="CC0-1.0"
    )
    results = write_scans(task, workers=1)
    counts = {result.name: result.records for result in results}
    assert counts == {"a/p1": 2, "other.obj": 1}
    assert total(results) == (3, 0)
    records = records_of(tmp_path / "out")
    assert len({record.key for record in records}) == 3
    assert len({record.split for record in records if record.group == "p1"}) == 1
    assert {record.license for record in records} == {"CC0-1.0"}
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.tar")}
    assert write_scans(task, workers=1) == results
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.tar")} == before


def test_scans_that_cannot_be_used_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    (tmp_path / "set" / "torn.stl").write_bytes(b"junk")
    (tmp_path / "set" / "a" / "p1_upper.json").write_text("{}")
    results = write_scans(ScanSet(str(tmp_path / "set"), str(tmp_path / "out"), size=24, views=("frontal",)), workers=1)
    assert total(results) == (2, 2)
    assert [result.name for result in results if result.problem] == ["a/p1_upper.obj", "torn.stl"]
    assert len(records_of(tmp_path / "out")) == 2


def test_other_parameters_need_another_folder(tmp_path: Path) -> None:
    write_obj(tmp_path / "set" / "x.obj", cast("upper-occlusal"))
    write_scans(ScanSet(str(tmp_path / "set"), str(tmp_path / "out"), size=24, views=("frontal",)), workers=1)
    with pytest.raises(SpecError):
        write_scans(ScanSet(str(tmp_path / "set"), str(tmp_path / "out"), size=32, views=("frontal",)), workers=1)


def test_views_are_parsed_in_their_usual_order() -> None:
    assert parse_views("left, frontal") == ("frontal", "left")
    assert parse_views(None) is None
    with pytest.raises(SpecError) as caught:
        parse_views("top")
    assert caught.value.found == ["top"]


def test_jaws_in_folders_of_their_own_are_one_patient_and_endings_tell_scans_apart(tmp_path: Path) -> None:
    write_teeth3ds(tmp_path / "set" / "upper" / "P" / "P_upper.obj", cast("upper-occlusal"), "upper")
    write_teeth3ds(tmp_path / "set" / "lower" / "P" / "P_lower.obj", cast("lower-occlusal"), "lower")
    (tmp_path / "set" / "upper" / "P" / "P_upper.stl").write_bytes(b"junk")
    results = write_scans(ScanSet(str(tmp_path / "set"), str(tmp_path / "out"), size=24, views=("left",)), workers=1)
    assert total(results) == (2, 1)
    assert {record.group for record in records_of(tmp_path / "out")} == {"P"}


def write_jaws(folder: Path, lower_moved_mm: float = 0.0) -> tuple[Path, Path]:
    """A patient's jaws in two files, in bite but for a shift downwards."""
    upper, lower = jaws()
    shift = np.array([0.0, -lower_moved_mm, 0.0])
    return (
        write_obj(folder / "p_upper.obj", upper, None),
        write_obj(folder / "p_lower.obj", tuple(part.moved(shift) for part in lower), None),
    )


@pytest.mark.slow
def test_scans_without_labels_are_records_without_seg_that_a_build_paints(tmp_path: Path) -> None:
    write_unlabelled(tmp_path / "set" / "q_upper.obj", cast("upper-occlusal"))
    write_obj(tmp_path / "set" / "x.obj", cast("upper-occlusal"), 3, 10.0)
    task = ScanSet(str(tmp_path / "set"), str(tmp_path / "out"), size=32, views=("frontal",))
    refused = write_scans(task, workers=1)[0]
    assert (refused.name, refused.records) == ("q_upper.obj", 0)
    assert "orientation" not in json.loads((tmp_path / "out" / PARAMETERS).read_text())
    oriented = replace(task, out=str(tmp_path / "all"), orientation=Orientation("+x,+y,+z"))
    assert total(write_scans(oriented, workers=1)) == (2, 0)
    by_group = {record.group: record for record in records_of(tmp_path / "all", ("normal",))}
    assert by_group["q"].conditions.keys() == {"lighting", "normal", "curvature", "depth"}
    assert by_group["q"].fdi is None
    assert "segmentation" in by_group["x"].conditions
    for use in (["normal"], ["lighting"]):
        spec = small_spec(tmp_path / "all", tmp_path / use[0], conditions={"use": use, "size": 32})
        assert build(spec, use_ray=False).index.written == 4


@pytest.mark.slow
def test_two_files_in_bite_are_the_scan_that_one_file_of_both_is(tmp_path: Path) -> None:
    write_jaws(tmp_path / "two")
    write_obj(tmp_path / "one" / "p.obj", cast(), None)
    views: tuple[View, ...] = ("upper-occlusal",)
    for name in ("two", "one"):
        task = ScanSet(str(tmp_path / name), str(tmp_path / f"{name}-out"), size=32, views=views)
        assert total(write_scans(task, workers=1)) == (1, 0)
    for two, one in zip(records_of(tmp_path / "two-out"), records_of(tmp_path / "one-out"), strict=True):
        assert (two.group, two.prompt, two.attributes) == (one.group, one.prompt, one.attributes)
        assert all((two.conditions[name] == one.conditions[name]).all() for name in one.conditions)


@pytest.mark.integration
def test_jaws_that_are_not_in_bite_are_rendered_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_jaws(tmp_path / "set", lower_moved_mm=40.0)
    caplog.set_level("INFO", "dentgen")
    results = write_scans(ScanSet(str(tmp_path / "set"), str(tmp_path / "out"), size=24, views=("left",)), workers=1)
    assert [(result.name, result.records) for result in results] == [("p_lower.obj", 1), ("p_upper.obj", 1)]
    assert "mm below the upper ones" in results[0].note
    assert results[0].note in caplog.text


def test_a_damaged_jaw_does_not_lose_the_other_and_a_jaw_that_was_alone_stays_so(tmp_path: Path) -> None:
    _, lower = write_jaws(tmp_path / "set")
    content = lower.read_bytes()
    lower.write_bytes(b"junk")
    task = ScanSet(str(tmp_path / "set"), str(tmp_path / "out"), size=16, views=("left",))
    damaged, good = write_scans(task, workers=1)
    assert (damaged.name, damaged.records, good.name, good.records) == ("p_lower.obj", 0, "p_upper.obj", 1)
    assert str(lower) in damaged.problem
    lower.write_bytes(content)
    assert [result.name for result in write_scans(task, workers=1)] == ["p_lower.obj", "p_upper.obj"]
    assert len(list((tmp_path / "out").glob("*.tar"))) == 2


def test_a_jaw_that_cannot_be_read_now_leaves_nothing_for_this_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_jaws(tmp_path / "set")
    task = ScanSet(str(tmp_path / "set"), str(tmp_path / "out"), size=24, views=("upper-occlusal",))

    def failing(file: ScanFile, *rest: Any) -> PosedScan:
        if file.jaw == "lower":
            raise StorageError(file=file.mesh, found="a timeout")
        return read_scan(file, *rest)

    with monkeypatch.context() as patch:
        patch.setattr("dentgen.ingest.scans.run.read_scan", failing)
        lower, upper = write_scans(task, workers=1)
        assert (lower.name, lower.records, upper.name, upper.records) == ("p_lower.obj", 0, "p_upper.obj", 0)
        assert lower.problem == f"{tmp_path / 'set' / 'p_lower.obj'}: found a timeout"
        assert upper.problem == "not rendered, because p_lower.obj could not be read"
        assert not list((tmp_path / "out").glob("*.tar"))
    both = write_scans(task, workers=1)
    assert both == [ScanResult("p", 1)]
    with monkeypatch.context() as patch:
        patch.setattr("dentgen.ingest.scans.run.read_scan", failing)
        assert write_scans(task, workers=1) == both, "what is there need not be read"
    assert len(list((tmp_path / "out").glob("*.tar"))) == 1


@pytest.mark.slow
@pytest.mark.ray
def test_a_cluster_renders_the_same_set_from_relative_places(
    tmp_path: Path, ray_local: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    here = write_scans(ScanSet("set", "here", size=24, views=("left",)), workers=1)
    assert write_scans(ScanSet("set", "there", size=24, views=("left",)), address="auto") == here
    names = sorted(path.name for path in Path("here").iterdir())
    assert names == sorted(path.name for path in Path("there").iterdir())
    assert all(Path("here", name).read_bytes() == Path("there", name).read_bytes() for name in names)


def test_a_node_that_traces_otherwise_is_refused(tmp_path: Path) -> None:
    write_obj(tmp_path / "set" / "x.obj", cast("upper-occlusal"))
    (scan,) = find_patients(str(tmp_path / "set"))
    with pytest.raises(SpecError) as caught:
        _write_patient(ScanSet(str(tmp_path / "set"), str(tmp_path / "out")), scan, rays="another")
    assert (caught.value.key, caught.value.expected) == ("rays", "another")


@pytest.mark.integration
def test_a_scan_on_s3_gives_the_same_shard(tmp_path: Path, s3_root: str) -> None:
    path = write_obj(tmp_path / "set" / "x.obj", cast("upper-occlusal"))
    storage.overwrite(storage.join(s3_root, "meshes", "x.obj"), path.read_bytes())
    for source, out in ((str(path.parent), str(tmp_path / "out")), (f"{s3_root}/meshes", f"{s3_root}/scanned")):
        assert total(write_scans(ScanSet(source, out, size=24, views=("left",)), workers=1)) == (1, 0)
    (shard,) = (tmp_path / "out").glob("*.tar")
    assert storage.read_bytes(storage.join(s3_root, "scanned", shard.name)) == shard.read_bytes()
