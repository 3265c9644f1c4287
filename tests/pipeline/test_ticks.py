"""Ticks: a key that was completed does nothing a second time, whatever has come since."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dentgen.errors import SpecError, StorageError
from dentgen.pipeline import run
from dentgen.pipeline.ticks import completed_version, record_tick, require_key
from dentgen.shards import layout
from dentgen.shards.seals import read_seal
from tests.pipeline.growing import Members, add_shard, files, grow, growing_spec, without_a_model

KEY = "2026-11-29T08:00 (Ω/../x)"


def test_the_first_record_of_a_key_stays_and_its_name_is_a_hash(tmp_path: Path) -> None:
    assert completed_version(str(tmp_path), KEY) is None
    record_tick(str(tmp_path), KEY, 3)
    record_tick(str(tmp_path), KEY, 4)
    assert completed_version(str(tmp_path), KEY) == 3
    assert completed_version(str(tmp_path), "another") is None
    (file,) = (tmp_path / "ticks").iterdir()
    assert json.loads(file.read_bytes()) == {"key": KEY, "version": 3}
    assert layout.is_own(f"ticks/{file.name}", 0, 0)


def test_a_damaged_record_is_an_error_that_names_it(tmp_path: Path) -> None:
    record_tick(str(tmp_path), KEY, 3)
    (file,) = (tmp_path / "ticks").iterdir()
    file.write_text("{")
    with pytest.raises(StorageError) as caught:
        completed_version(str(tmp_path), KEY)
    assert caught.value.file == str(file)


@pytest.mark.parametrize("key", ["", " ", "x" * 1001])
def test_a_key_is_a_text(key: str) -> None:
    with pytest.raises(SpecError) as caught:
        require_key(key)
    assert caught.value.key == "--tick"


def test_ticks_are_run_once(tmp_path: Path, demo_members: Members, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them is killed between its seal and its record."""
    without_a_model(monkeypatch)
    source, out = tmp_path / "in", tmp_path / "out"
    spec = growing_spec(source, out)
    add_shard(source, "a", demo_members, 0)
    assert grow(spec, tick="one").index.version == 0
    add_shard(source, "b", demo_members, 2)
    with monkeypatch.context() as patch:
        patch.setattr(run, "record_tick", lambda *_: None)
        assert grow(spec, tick="two").index.version == 1
    add_shard(source, "c", demo_members, 4)
    before = files(out, "plan", "shards", "ledger", "versions", "index")
    for key, version in (("one", 0), ("two", 1)):
        outcome = grow(spec, tick=key)
        assert (outcome.replayed, outcome.already, outcome.index.version) == (True, True, version)
    assert files(out, "plan", "shards", "ledger", "versions", "index") == before
    assert grow(spec, tick="three").index.version == 2
    assert grow(spec, tick="four").already
    assert completed_version(str(out), "four") == 2
    seals = [read_seal(str(out), version) for version in range(3)]
    assert [seal.tick for seal in seals if seal is not None] == ["one", "two", "three"]
