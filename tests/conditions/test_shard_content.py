"""A shard is known by its content: copies are equal, replaced ones are not."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from dentgen import storage
from dentgen.conditions.readers.raw import ConditionShard
from dentgen.conditions.readers.source import list_shards
from dentgen.conditions.shard_content import has_content, shard_content


def one_shard(source: Path | str) -> ConditionShard:
    (shard,) = list_shards(str(source))
    return shard


@pytest.fixture(params=["a.tar", "folder"])
def source(request: pytest.FixtureRequest, tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> Path:
    """A source of one shard: a file, or a folder of records."""
    folder = tmp_path / "source"
    folder.mkdir()
    if request.param == "a.tar":
        (folder / "a.tar").write_bytes(b"some bytes")
    else:
        for name, content in demo_members[min(demo_members)].items():
            (folder / f"key.{name}").write_bytes(content)
    return folder


def test_a_copy_has_the_content_and_a_changed_one_has_not(source: Path, tmp_path: Path) -> None:
    content = shard_content(one_shard(source))
    copied = Path(shutil.copytree(source, tmp_path / "copy"))
    file = sorted(copied.iterdir())[0]
    os.utime(file, (1, 1))
    assert one_shard(copied).tag != one_shard(source).tag
    assert has_content(one_shard(copied), content)
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    os.utime(file, (2, 2))
    assert not has_content(one_shard(copied), content)


def test_a_renamed_file_of_a_folder_is_another_content(source: Path) -> None:
    content = shard_content(one_shard(source))
    for file in list(source.iterdir()):
        file.rename(file.with_name(file.name.replace("key.", "yek.")))
    assert has_content(one_shard(source), content) is (source / "a.tar").exists()


def test_unknown_content_is_not_compared(source: Path) -> None:
    assert has_content(one_shard(source), "")


def test_an_etag_stands_for_the_content_and_is_compared_with_a_copy(s3_root: str, tmp_path: Path) -> None:
    data = b"some bytes"
    storage.put_if_absent(f"{s3_root}/source/a.tar", data)
    far = one_shard(f"{s3_root}/source")
    content = shard_content(far)
    assert hashlib.md5(data, usedforsecurity=False).hexdigest() in content
    (tmp_path / "a.tar").write_bytes(data)
    near = one_shard(tmp_path)
    assert has_content(far, content)
    assert has_content(near, content)
    assert has_content(far, shard_content(near))
    assert has_content(replace(far, tag='"of an upload in parts-2"'), content), "its bytes are the same"
    assert not has_content(far, 'tag:"of an upload in parts-2"'), "no digest of the bytes to compare"
    (tmp_path / "a.tar").write_bytes(b"other byte")
    assert not has_content(one_shard(tmp_path), content)
