"""A finished build as a source: the shards of its index, whole and unchanged, and samples as records."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from dentgen.conditions.decode import decode_record, valid_key
from dentgen.conditions.readers.build import record_key
from dentgen.conditions.readers.source import index_shard, list_shards, read_records
from dentgen.errors import ConditionError
from tests.conftest import write_tar

Records = dict[str, dict[str, bytes]]


def sample_json(**fields: Any) -> bytes:
    values = {
        "group": "p1", "split": "train", "prompt": "a mouth", "source_license": "CC0-1.0",
        "attributes": {"view": "frontal", "lighting": "harsh"}, "synthetic": True,
        "digital_source_type": "http://x/trainedAlgorithmicMedia", "spec_digest": "s",
    }  # fmt: skip
    return json.dumps({**values, **fields}).encode()


def laid_build(root: Path, demo_members: Records, **fields: Any) -> Path:
    """The files that a finished build is told by: two committed shards, an orphan and one that was never committed."""
    entries = []
    for number, key in enumerate(sorted(demo_members)[:2]):
        given = demo_members[key]
        members = {"png": given["photo.png"], "json": sample_json(**fields)}
        members |= {name: given[name] for name in ("seg.png", "fdi.png", "light.png")}
        file = write_tar(root / "shards" / f"{number:06d}.tar", {f"{key}-v000": members})
        data = file.read_bytes()
        entries.append(
            {"name": file.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "samples": 1}
        )
    write_tar(root / "shards" / "000002.tar", {"never-v000": demo_members[min(demo_members)]})
    write_tar(root / "orphans" / "000000-0123456789abcdef.tar", {"orphan-v000": demo_members[min(demo_members)]})
    (root / "plan").mkdir()
    for name in ("plan/000000.json", "plan/000000.units.parquet"):
        (root / name).write_bytes(b"")
    index = {"version": 0, "spec_digest": "s", "bundle_digest": "b", "planned": 2, "written": 2, "rejected": 0}
    (root / "index.json").write_text(json.dumps({**index, "shards": entries}))
    return root


def test_only_the_shards_of_the_index_are_listed(tmp_path: Path, demo_members: Records) -> None:
    out = laid_build(tmp_path / "out", demo_members)
    for source_format in ("auto", "build"):
        shards = list_shards(str(out), source_format)
        assert [(shard.name, shard.kind) for shard in shards] == [
            ("shards/000000.tar", "build"), ("shards/000001.tar", "build"),
        ]  # fmt: skip
    assert len(list_shards(str(out), "webdataset")) == 4, "as they lie, where the spec says so"


def test_samples_are_records_with_their_picture_as_photo(tmp_path: Path, demo_members: Records) -> None:
    first, _ = list_shards(str(laid_build(tmp_path / "out", demo_members)))
    index = index_shard(first, with_metadata=True)
    key = min(demo_members)
    assert (index.keys, index.splits, index.problem) == ((f"{key}-v000",), ("train",), "")
    assert index.attributes == ('{"lighting": "harsh", "view": "frontal"}',)
    (raw,) = read_records(first)
    assert raw.members["photo.png"] == demo_members[key]["photo.png"]
    record = decode_record(raw, ("segmentation", "lighting"), with_photo=True)
    assert (record.key, record.group, record.split, record.prompt, record.license) == (
        f"{key}-v000", "p1", "train", "a mouth", "CC0-1.0",
    )  # fmt: skip
    assert record.attributes == {"view": "frontal", "lighting": "harsh"}
    assert record.sample is not None
    assert (record.sample.synthetic, record.sample.finding_labels) == (True, None)


def test_a_shard_of_another_size_is_refused_when_it_is_listed(tmp_path: Path, demo_members: Records) -> None:
    out = laid_build(tmp_path / "out", demo_members)
    file = out / "shards" / "000001.tar"
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-512])
    with pytest.raises(ConditionError) as caught:
        list_shards(str(out))
    assert (caught.value.found, caught.value.expected) == (f"{size - 512} bytes", f"{size} bytes, as the index says")
    file.unlink()
    with pytest.raises(ConditionError) as caught:
        list_shards(str(out))
    assert caught.value.found == "no file"


def test_a_shard_of_other_bytes_is_refused_when_it_is_indexed(tmp_path: Path, demo_members: Records) -> None:
    out = laid_build(tmp_path / "out", demo_members)
    file = out / "shards" / "000000.tar"
    data = bytearray(file.read_bytes())
    expected = hashlib.sha256(data).hexdigest()
    data[700] ^= 1
    file.write_bytes(data)
    with pytest.raises(ConditionError) as caught:
        index_shard(list_shards(str(out))[0], with_metadata=False)
    assert caught.value.found == f"sha256 {hashlib.sha256(data).hexdigest()}"
    assert expected in caught.value.expected


@pytest.mark.parametrize("content", [b"", b"{}", b"[]"])
def test_an_index_that_is_none_is_named(content: bytes, tmp_path: Path, demo_members: Records) -> None:
    out = laid_build(tmp_path / "out", demo_members)
    (out / "index.json").write_bytes(content)
    with pytest.raises(ConditionError) as caught:
        list_shards(str(out))
    assert caught.value.file == str(out / "index.json")


def test_what_is_no_finished_build_is_refused_by_name(tmp_path: Path, demo_members: Records) -> None:
    write_tar(tmp_path / "records" / "a.tar", {min(demo_members): demo_members[min(demo_members)]})
    with pytest.raises(ConditionError) as caught:
        list_shards(str(tmp_path / "records"), "build")
    assert caught.value.expected == "a finished build"


def test_keys_of_samples_stay_readable_and_unique() -> None:
    assert record_key("m01-frontal-v000") == "m01-frontal-v000"
    long = [f"{'x' * 90}-v{variant:03d}" for variant in range(3)] + ["\u00e9" * 60 + "-v000"]
    keys = [record_key(key) for key in long]
    assert len(set(keys)) == len(keys)
    assert all(valid_key(key) and key[:20] == given[:20] for key, given in zip(keys, long, strict=True))
