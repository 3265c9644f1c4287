"""Seals: which versions a build has, and whether the newest one stands whole."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dentgen.errors import BuildError
from dentgen.shards.index import mark_success
from dentgen.shards.index_reader import read_index
from dentgen.shards.ledger import digest_of
from dentgen.shards.plan import Plan
from dentgen.shards.seals import (
    is_current,
    list_versions,
    newest_sealed,
    read_seal,
    version_numbers,
    write_seal,
)
from tests.conftest import ROOT
from tests.report.fake_builds import fake_build, rejected, written


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A sealed build of two units."""
    return fake_build(tmp_path, [written(0), rejected(1, "broken")])


def test_a_seal_tells_its_version_in_brief(tmp_path: Path, plan: Plan) -> None:
    seal, index = read_seal(str(tmp_path), 0), read_index(str(tmp_path))
    assert seal is not None
    assert (seal.version, seal.segment, seal.units, seal.planned, seal.written, seal.rejected) == (0, 0, 2, 4, 2, 2)
    assert (seal.shards, seal.bytes, seal.retired) == (1, index.shards[0].bytes, 0)
    assert seal.plan_sha256 == plan.digest()
    assert seal.index_sha256 == digest_of((tmp_path / "index.json").read_bytes())
    assert seal.ledger_sha256 == digest_of((tmp_path / "versions/0/ledger.parquet").read_bytes())
    assert list(list_versions(str(tmp_path))) == [seal]


def test_time_and_tick_of_a_seal_are_those_of_the_first(tmp_path: Path, plan: Plan) -> None:
    first, index = read_seal(str(tmp_path), 0), read_index(str(tmp_path))
    write_seal(str(tmp_path), plan, index, "later")
    assert read_seal(str(tmp_path), 0) == first
    write_seal(str(tmp_path), replace(plan, retires=((7,),)), index, "later")
    again = read_seal(str(tmp_path), 0)
    assert first is not None
    assert again == first.model_copy(update={"retired": 1})


def test_the_newest_seal_counts_and_folders_without_one_do_not(tmp_path: Path, plan: Plan) -> None:
    (tmp_path / "versions" / "3").mkdir()
    (tmp_path / "versions" / ".DS_Store").write_bytes(b"")
    assert version_numbers(str(tmp_path)) == [3, 0]
    assert newest_sealed(str(tmp_path)) == 0
    (tmp_path / "versions" / "0" / "seal.json").unlink()
    assert newest_sealed(str(tmp_path)) == 0, "an index at the top is of a build before versions had seals"
    (tmp_path / "index.json").unlink()
    assert newest_sealed(str(tmp_path)) is None
    with pytest.raises(BuildError) as caught:
        list(list_versions(str(tmp_path)))
    assert caught.value.file == str(tmp_path)


@pytest.mark.usefixtures("plan")
def test_a_version_is_current_once_everything_stands(tmp_path: Path) -> None:
    assert not is_current(str(tmp_path), 0)
    mark_success(str(tmp_path))
    assert is_current(str(tmp_path), 0)
    assert not is_current(str(tmp_path), 1)
    content = (tmp_path / "index.json").read_bytes()
    (tmp_path / "index.json").write_bytes(json.dumps(json.loads(content)).encode())
    assert not is_current(str(tmp_path), 0)
    (tmp_path / "index.json").unlink()
    assert not is_current(str(tmp_path), 0)


@pytest.mark.usefixtures("plan")
def test_a_seal_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / "versions" / "0" / "seal.json").write_text("{")
    assert read_seal(str(tmp_path), 0) is None


def test_versions_are_listed_without_reading_plans() -> None:
    """Which are tables: the command would wait for pyarrow."""
    code = "import sys, dentgen.shards.seals; assert 'pyarrow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=300)
