"""Sets of scans: all that can be used is written once, the rest is named, and patients stay in one split."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen import storage
from dentgen.conditions.decode import decode_record
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.errors import ConditionError, SpecError
from dentgen.ingest.scans.run import ScanSet, _write_scan, find_scans, parse_views, total, write_scans
from dentgen.records import ConditionRecord
from tests.ingest.scans.jaws import cast, write_obj, write_teeth3ds


def write_set(folder: Path) -> None:
    write_teeth3ds(folder / "a" / "p1_upper.obj", cast("upper-occlusal"), "upper")
    write_teeth3ds(folder / "a" / "p1_lower.obj", cast("lower-occlusal"), "lower")
    write_obj(folder / "other.obj", cast("upper-occlusal"))


def records_of(out: Path) -> list[ConditionRecord]:
    raws = [raw for shard in list_shards(str(out)) for raw in read_records(shard)]
    return [decode_record(raw, ("segmentation", "lighting", "normal", "depth"), with_photo=True) for raw in raws]


def test_every_scan_is_rendered_once(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    task = ScanSet(
        str(tmp_path / "set"), str(tmp_path / "out"), size=24, views=("left", "lower-occlusal"), license="CC0-1.0"
    )
    results = write_scans(task, workers=1)
    counts = {result.name: result.records for result in results}
    assert counts == {"a/p1_lower.obj": 2, "a/p1_upper.obj": 1, "other.obj": 1}
    assert total(results) == (4, 0)
    records = records_of(tmp_path / "out")
    assert len({record.key for record in records}) == 4
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


def test_other_parameters_need_another_folder_and_an_empty_set_is_refused(tmp_path: Path) -> None:
    write_obj(tmp_path / "set" / "x.obj", cast("upper-occlusal"))
    write_scans(ScanSet(str(tmp_path / "set"), str(tmp_path / "out"), size=24, views=("frontal",)), workers=1)
    with pytest.raises(SpecError):
        write_scans(ScanSet(str(tmp_path / "set"), str(tmp_path / "out"), size=32, views=("frontal",)), workers=1)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "x.txt").write_text("")
    with pytest.raises(ConditionError) as caught:
        find_scans(str(tmp_path / "none"))
    assert caught.value.found == "no mesh"


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
    (scan,) = find_scans(str(tmp_path / "set"))
    with pytest.raises(SpecError) as caught:
        _write_scan(ScanSet(str(tmp_path / "set"), str(tmp_path / "out")), scan, rays="another")
    assert (caught.value.key, caught.value.expected) == ("rays", "another")


def test_a_scan_on_s3_gives_the_same_shard(tmp_path: Path, s3_root: str) -> None:
    path = write_obj(tmp_path / "set" / "x.obj", cast("upper-occlusal"))
    storage.overwrite(storage.join(s3_root, "meshes", "x.obj"), path.read_bytes())
    for source, out in ((str(path.parent), str(tmp_path / "out")), (f"{s3_root}/meshes", f"{s3_root}/scanned")):
        assert total(write_scans(ScanSet(source, out, size=24, views=("left",)), workers=1)) == (1, 0)
    (shard,) = (tmp_path / "out").glob("*.tar")
    assert storage.read_bytes(storage.join(s3_root, "scanned", shard.name)) == shard.read_bytes()
