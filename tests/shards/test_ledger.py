"""The commit protocol: what a kill can leave behind, and what a second attempt may do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from dentgen import storage
from dentgen.documents import LedgerRecord, SampleStatus, Unit
from dentgen.errors import DeterminismError
from dentgen.shards.ledger import commit, committed_units, digest_of, read_ledger, shard_url

UNIT = Unit(id=3, shard="a.tar", start=0, stop=1, records=1, shard_bytes=0)


def record(shard: bytes) -> LedgerRecord:
    status = SampleStatus(key="k-v000", source_key="k", variant=0, status="written" if shard else "rejected")
    return LedgerRecord(
        unit=3, spec_digest="s", bundle_digest="b", shard="000003.tar" if shard else "", bytes=len(shard),
        sha256=digest_of(shard), samples=(status,),
    )  # fmt: skip


def test_commit_is_shard_then_record(tmp_path: Path) -> None:
    assert commit(str(tmp_path), UNIT, b"data", record(b"data"))
    assert (tmp_path / "shards" / "000003.tar").read_bytes() == b"data"
    assert committed_units(str(tmp_path)) == {"000003"}
    assert not commit(str(tmp_path), UNIT, b"data", record(b"data")), "the same bytes again are no error"


def test_the_record_is_put_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever finds the record finds the shard."""
    put, names = storage.put_if_absent, []

    def noted(url: str, data: bytes) -> bool:
        names.append(storage.relative_name(str(tmp_path), url))
        return put(url, data)

    monkeypatch.setattr(storage, "put_if_absent", noted)
    commit(str(tmp_path), UNIT, b"data", record(b"data"))
    assert names == ["shards/000003.tar", "ledger/000003.json"]


def test_a_shard_replaced_while_it_is_committed_is_put_back_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = storage.put_if_absent

    def overtaken(url: str, data: bytes) -> bool:
        done = put(url, data)
        if "ledger" in url:
            storage.overwrite(shard_url(str(tmp_path), UNIT), b"other")
        return done

    monkeypatch.setattr(storage, "put_if_absent", overtaken)
    with pytest.raises(DeterminismError, match="replaced while it was committed"):
        commit(str(tmp_path), UNIT, b"data", record(b"data"))
    assert (tmp_path / "shards" / "000003.tar").read_bytes() == b"data", "the record is the truth"


def test_other_bytes_are_refused_and_change_nothing(tmp_path: Path) -> None:
    commit(str(tmp_path), UNIT, b"data", record(b"data"))
    before = (tmp_path / "ledger" / "000003.json").read_bytes()
    with pytest.raises(DeterminismError) as caught:
        commit(str(tmp_path), UNIT, b"other", record(b"other"))
    assert digest_of(b"data") in str(caught.value)
    assert digest_of(b"other") in str(caught.value)
    assert (tmp_path / "shards" / "000003.tar").read_bytes() == b"data"
    assert (tmp_path / "ledger" / "000003.json").read_bytes() == before
    assert not (tmp_path / "orphans").exists(), "the ledger is asked before anything is put"


def test_an_orphan_with_equal_bytes_is_adopted(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "000003.tar").write_bytes(b"data")
    assert commit(str(tmp_path), UNIT, b"data", record(b"data"))
    assert not (tmp_path / "orphans").exists()


def test_an_orphan_with_other_bytes_is_set_aside_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "000003.tar").write_bytes(b"half")
    assert commit(str(tmp_path), UNIT, b"data", record(b"data"))
    assert (tmp_path / "shards" / "000003.tar").read_bytes() == b"data"
    (aside,) = (tmp_path / "orphans").iterdir()
    assert aside.read_bytes() == b"half"
    assert aside.name in caplog.text


def test_a_unit_of_rejects_commits_without_a_shard(tmp_path: Path) -> None:
    assert commit(str(tmp_path), UNIT, b"", record(b""))
    assert not (tmp_path / "shards").exists()
    assert committed_units(str(tmp_path)) == {"000003"}


@pytest.mark.parametrize("place", ["disk", "s3"])
@pytest.mark.parametrize("contents", [(b"data", b"data"), (b"data", b"other")])
def test_two_writers_of_one_unit(
    place: str, contents: tuple[bytes, bytes], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Whoever comes second finds its own bytes there, or learns that they are others; one record, one truth."""
    root = str(tmp_path) if place == "disk" else storage.join(request.getfixturevalue("s3_root"), "two-writers")
    for attempt in range(10):
        out = storage.join(root, f"{contents[1].decode()}-{attempt}")
        outcomes = both_at_once([partial(commit, out, UNIT, data, record(data)) for data in contents])
        committed = read_ledger(out, UNIT.name).sha256
        assert digest_of(storage.read_bytes(shard_url(out, UNIT))) == committed
        assert committed in {digest_of(data) for data in contents}
        if contents[0] == contents[1]:
            assert sorted(map(bool, outcomes)) == [False, True]
        else:
            assert any(isinstance(outcome, DeterminismError) for outcome in outcomes), outcomes


def both_at_once(works: list[Callable[[], object]]) -> list[object]:
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return work()
        except DeterminismError as error:
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))
