"""A unit's records: every planned record is decoded and fitted or rejected, and a changed shard is noticed."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dentgen.conditions.decode import decode_record
from dentgen.conditions.labels import IGNORE
from dentgen.conditions.prepare import fit_record
from dentgen.conditions.readers.raw import RawRecord
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.conditions.unit_records import check_records, read_unit
from dentgen.errors import BuildError, ConditionError
from dentgen.spec.findings import FindingSpec
from tests.conftest import write_tar
from tests.poison import one_unit

Records = dict[str, dict[str, bytes]]


@pytest.fixture
def records(demo_members: Records) -> Records:
    """Four records in order."""
    return {key: demo_members[key] for key in sorted(demo_members)[:4]}


def with_split(members: dict[str, bytes], split: str) -> dict[str, bytes]:
    return {**members, "json": json.dumps({**json.loads(members["json"]), "split": split}).encode()}


def test_records_are_decoded_and_fitted(tmp_path: Path, records: Records) -> None:
    write_tar(tmp_path / "a.tar", records)
    spec, unit, shard = one_unit(tmp_path)
    accepted, rejected = read_unit(spec, unit, shard)
    assert rejected == []
    assert [record.key for record in accepted] == list(records)
    for record, raw in zip(accepted, read_records(shard), strict=True):
        expected = fit_record(decode_record(raw, spec.conditions.use), spec.conditions.shape, spec.conditions.fit)
        assert record.prompt == expected.prompt
        for name, array in record.conditions.items():
            assert np.array_equal(array, expected.conditions[name])


def test_records_without_a_findings_map_get_one_where_the_spec_asks_for_findings(
    tmp_path: Path, records: Records
) -> None:
    """Nothing is annotated in it: 255 says so. Without findings in the spec the map must be there."""
    write_tar(tmp_path / "a.tar", records)
    spec, unit, shard = one_unit(tmp_path)
    use = {"conditions": spec.conditions.model_copy(update={"use": ("segmentation", "lighting", "findings")})}
    asked = (FindingSpec(kind="caries", teeth=(11,)),)
    accepted, rejected = read_unit(spec.model_copy(update={**use, "findings": asked}), unit, shard)
    assert rejected == []
    assert all((record.conditions["findings"] == IGNORE).all() for record in accepted)
    assert {record.conditions["findings"].shape for record in accepted} == {spec.conditions.shape}
    accepted, rejected = read_unit(spec.model_copy(update=use), unit, shard)
    assert (accepted, len(rejected)) == ([], 4)


def test_damaged_records_are_rejected_with_a_reason(tmp_path: Path, records: Records) -> None:
    keys = list(records)
    write_tar(tmp_path / "a.tar", {**records, keys[1]: {**records[keys[1]], "seg.png": b"junk"}})
    spec, unit, shard = one_unit(tmp_path)
    accepted, (rejected,) = read_unit(spec, unit, shard)
    assert [record.key for record in accepted] == [keys[0], *keys[2:]]
    assert (rejected.name, rejected.source_key, rejected.variants) == (keys[1], keys[1], spec.sampling.variants)
    assert rejected.reason.startswith(f"a.tar: {keys[1]}.seg.png: ")


def test_invalid_keys_are_replaced_by_the_position(tmp_path: Path, records: Records) -> None:
    keys = list(records)
    write_tar(tmp_path / "a.tar", {keys[0]: records[keys[0]], "x/../y": records[keys[1]]})
    _, (rejected,) = read_unit(*one_unit(tmp_path))
    assert (rejected.name, rejected.source_key) == ("a.tar#1", "x/../y")


def test_duplicate_keys_are_rejected_by_their_position(tmp_path: Path, records: Records) -> None:
    write_tar(tmp_path / "a.tar", records)
    spec, unit, shard = one_unit(tmp_path)
    key = list(records)[2]
    accepted, (rejected,) = read_unit(spec, replace(unit, duplicates=(2,)), shard)
    assert key not in [record.key for record in accepted]
    assert (rejected.name, rejected.source_key) == ("a.tar#2", key)


def test_records_of_other_splits_are_skipped(tmp_path: Path, records: Records) -> None:
    splits = dict(zip(records, ("train", "test", "train", "test"), strict=True))
    write_tar(tmp_path / "a.tar", {key: with_split(records[key], split) for key, split in splits.items()})
    spec, unit, shard = one_unit(tmp_path, split="train")
    accepted, rejected = read_unit(spec, unit, shard)
    assert [record.key for record in accepted] == [key for key, split in splits.items() if split == "train"]
    assert {record.split for record in accepted} == {"train"}
    assert [record.prompt for record in accepted] == [
        json.loads(records[key]["json"])["prompt"] for key, split in splits.items() if split == "train"
    ]
    assert rejected == []


def test_unreadable_metadata_are_rejected_rather_than_skipped(tmp_path: Path, records: Records) -> None:
    keys = list(records)
    damaged = {keys[0]: {**records[keys[0]], "json": b"{"}, keys[1]: with_split(records[keys[1]], "train")}
    write_tar(tmp_path / "a.tar", damaged)
    accepted, (rejected,) = read_unit(*one_unit(tmp_path, split="train"))
    assert [record.key for record in accepted] == [keys[1]]
    assert rejected.name == keys[0]


def test_ignored_members_are_dropped(tmp_path: Path, records: Records) -> None:
    key = next(iter(records))
    write_tar(tmp_path / "a.tar", {key: {**records[key], "notes.txt": b"x"}})
    spec, unit, shard = one_unit(tmp_path)
    assert read_unit(spec, unit, shard)[0] == []
    source = spec.source.model_copy(update={"ignore_members": ("notes.txt",)})
    (record,), _ = read_unit(spec.model_copy(update={"source": source}), unit, shard)
    assert record.key == key


def test_quarantined_records_are_rejected_without_being_read(tmp_path: Path, records: Records) -> None:
    write_tar(tmp_path / "a.tar", records)
    spec, unit, shard = one_unit(tmp_path)
    quarantined = RawRecord("", "a.tar: record 0", problem=ConditionError("a.tar: record 0", "a crash", "a record"))
    accepted, (rejected,) = read_unit(spec, unit, shard, {0: quarantined})
    assert [record.key for record in accepted] == list(records)[1:]
    assert (rejected.name, rejected.reason) == ("a.tar#0", "a.tar: record 0: found a crash, expected a record")


def test_unit_of_an_unreadable_shard_is_rejected_whole(tmp_path: Path, records: Records) -> None:
    write_tar(tmp_path / "a.tar", records)
    spec, unit, shard = one_unit(tmp_path)
    accepted, (rejected,) = read_unit(spec, replace(unit, problem="a.tar: damaged"), shard)
    assert accepted == []
    assert (rejected.name, rejected.reason) == ("a.tar#0", "a.tar: damaged")


@pytest.mark.parametrize(
    ("update", "found", "expected"),
    [
        ({"shard_bytes": 5}, None, "5 bytes"),
        ({"records": 3}, "4 records", "3 records"),
        ({"repeats": (1, 2, 1, 1)}, None, "2 repeats"),
    ],
)
def test_changed_shard_is_an_error_of_the_build(
    update: dict[str, Any], found: str | None, expected: str, tmp_path: Path, records: Records
) -> None:
    write_tar(tmp_path / "a.tar", records)
    spec, unit, shard = one_unit(tmp_path)
    with pytest.raises(BuildError) as caught:
        read_unit(spec, replace(unit, **update), shard)
    assert caught.value.file.endswith("a.tar")
    assert caught.value.key == "unit 000000"
    assert found in {None, caught.value.found}
    assert expected in caught.value.expected
    assert "output.path" in caught.value.advice


def test_dry_run_reports_every_record_before_decoding_it(tmp_path: Path, records: Records) -> None:
    """Of a part of the unit; damaged records are reported like others."""
    keys = list(records)
    write_tar(tmp_path / "a.tar", {**records, keys[1]: {"seg.png": b"junk"}})
    spec, unit, shard = one_unit(tmp_path)
    reported: list[tuple[int, str]] = []
    check_records(spec, unit, shard, (1, 3), lambda position, key: reported.append((position, key)))
    assert reported == [(1, keys[1]), (2, keys[2])]
    assert [raw.key for s in list_shards(str(tmp_path)) for raw in read_records(s)] == keys


def test_scattered_records_are_rejected_once_by_name(tmp_path: Path, records: Records) -> None:
    """Planned = written + rejected, also where a split is asked for, which scattered records hide."""
    *apart, whole = records
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        members = [(key, name) for name in sorted(records[whole]) for key in apart]
        for key, name in [*members, *((whole, name) for name in sorted(records[whole]))]:
            info = tarfile.TarInfo(f"{key}.{name}")
            info.size = len(records[key][name])
            archive.addfile(info, io.BytesIO(records[key][name]))
    for split in (None, json.loads(records[whole]["json"])["split"]):
        spec, unit, shard = one_unit(tmp_path, split=split)
        accepted, rejected = read_unit(spec, unit, shard)
        assert ([record.key for record in accepted], [one.source_key for one in rejected]) == ([whole], apart)
        assert all("together" in one.reason for one in rejected)


@pytest.mark.parametrize("kind", ["tar", "folder"])
def test_ignored_members_may_be_anything(kind: str, tmp_path: Path, records: Records) -> None:
    """Spelt in any case, too large or a link; alike in tars and folders."""
    key = min(records)
    members = {**records[key], "notes.txt": b"n"}
    if kind == "folder":
        for extension, content in members.items():
            (tmp_path / f"{key}.{extension}").write_bytes(content)
    else:
        write_tar(tmp_path / "a.tar", {key: records[key]})
        with tarfile.open(tmp_path / "a.tar", "w") as archive:
            for extension, content in members.items():
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.type = tarfile.SYMTYPE if extension == "notes.txt" else tarfile.REGTYPE
                info.size = 0 if extension == "notes.txt" else len(content)
                archive.addfile(info, io.BytesIO(content))
    spec, unit, shard = one_unit(tmp_path)
    _, (rejected,) = read_unit(spec, unit, shard)
    assert "notes.txt" in rejected.reason
    source = spec.source.model_copy(update={"ignore_members": ("Notes.TXT",)})
    (accepted,), none = read_unit(spec.model_copy(update={"source": source}), unit, shard)
    assert (accepted.key, none) == (key, [])
