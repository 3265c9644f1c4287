"""The commit protocol: what a kill can leave behind, what a second attempt may do, and reading the ledger."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from dentgen import storage
from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.samples import SampleStatus
from dentgen.documents.units import unit_name
from dentgen.errors import DeterminismError, StorageError
from dentgen.shards.ledger import (
    anything_written,
    commit,
    committed_units,
    digest_of,
    first_reasons,
    ledger_url,
    read_ledger,
    read_ledgers,
    restore,
    shard_url,
)
from dentgen.shards.tar import json_bytes

UNIT = "000003"


def record(shard: bytes, unit: int = 3) -> LedgerRecord:
    status = SampleStatus(key="k-v000", source_key="k", variant=0, status="written" if shard else "rejected")
    return LedgerRecord(
        unit=unit, spec_digest="s", bundle_digest="b", shard=f"{unit_name(unit)}.tar" if shard else "",
        bytes=len(shard), sha256=digest_of(shard), samples=(status,),
    )  # fmt: skip


def test_commit_is_shard_then_record(tmp_path: Path) -> None:
    assert commit(str(tmp_path), b"data", record(b"data"))
    assert (tmp_path / "shards" / "000003.tar").read_bytes() == b"data"
    assert committed_units(str(tmp_path)) == {"000003"}
    assert not commit(str(tmp_path), b"data", record(b"data")), "the same bytes again are no error"


def test_the_record_is_put_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever finds the record finds the shard."""
    names = list[str]()

    def note(name: str) -> None:
        put = getattr(storage, name)

        def noted(url: str, data: bytes) -> object:
            names.append(storage.relative_name(str(tmp_path), url))
            return put(url, data)

        monkeypatch.setattr(storage, name, noted)

    note("put_if_absent")
    note("put_tagged")
    commit(str(tmp_path), b"data", record(b"data"))
    assert names == ["shards/000003.tar", "ledger/000003.json"]


@pytest.mark.parametrize("place", ["disk", "s3"])
@pytest.mark.parametrize("after", ["shard", "ledger"])
def test_a_shard_replaced_during_its_commit_is_restored_and_reported(
    after: str, place: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By other bytes of the same length, as soon as it was put, or as soon as its record was."""
    out = str(tmp_path) if place == "disk" else storage.join(request.getfixturevalue("s3_root"), f"replaced-{after}")
    name = {"shard": "put_tagged", "ledger": "put_if_absent"}[after]
    put = getattr(storage, name)

    def overtaken(url: str, data: bytes) -> object:
        done = put(url, data)
        storage.overwrite(shard_url(out, UNIT), b"atad")
        return done

    monkeypatch.setattr(storage, name, overtaken)
    with pytest.raises(DeterminismError) as caught:
        commit(out, b"data", record(b"data"))
    assert caught.value.key == "unit 000003"
    assert digest_of(b"atad") in caught.value.found
    assert caught.value.expected == digest_of(b"data")
    assert storage.read_bytes(shard_url(out, UNIT)) == b"data", "the record is the truth"


@pytest.mark.parametrize("place", ["disk", "s3"])
def test_a_shard_that_its_commit_created_is_not_read_back(
    place: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = str(tmp_path) if place == "disk" else storage.join(request.getfixturevalue("s3_root"), "not-read")
    read, names = storage.read_bytes, list[str]()

    def noted(url: str) -> bytes:
        names.append(url)
        return read(url)

    monkeypatch.setattr(storage, "read_bytes", noted)
    assert commit(out, b"data", record(b"data"))
    assert names == []
    storage.overwrite(shard_url(out, unit_name(4)), b"data")
    assert commit(out, b"data", record(b"data", 4)), "the orphan of a kill"
    assert set(names) == {shard_url(out, unit_name(4))}


def test_a_storage_without_tags_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or one whose tags change by themselves."""
    for number, tag in enumerate(("", "another")):
        monkeypatch.setattr(storage, "tag_of", lambda url, tag=tag: tag)
        assert commit(str(tmp_path), b"data", record(b"data", number))
        assert read_ledger(str(tmp_path), unit_name(number)).sha256 == digest_of(b"data")


def test_other_bytes_are_refused_and_change_nothing(tmp_path: Path) -> None:
    commit(str(tmp_path), b"data", record(b"data"))
    before = (tmp_path / "ledger" / "000003.json").read_bytes()
    with pytest.raises(DeterminismError) as caught:
        commit(str(tmp_path), b"other", record(b"other"))
    assert caught.value.key == "unit 000003"
    assert digest_of(b"other") in caught.value.found
    assert digest_of(b"data") in caught.value.expected
    assert (tmp_path / "shards" / "000003.tar").read_bytes() == b"data"
    assert (tmp_path / "ledger" / "000003.json").read_bytes() == before
    assert not (tmp_path / "orphans").exists(), "the ledger is checked before anything is written"


def test_an_orphan_with_equal_bytes_is_adopted(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "000003.tar").write_bytes(b"data")
    assert commit(str(tmp_path), b"data", record(b"data"))
    assert not (tmp_path / "orphans").exists()


def test_an_orphan_with_other_bytes_is_set_aside_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "000003.tar").write_bytes(b"half")
    assert commit(str(tmp_path), b"data", record(b"data"))
    assert (tmp_path / "shards" / "000003.tar").read_bytes() == b"data"
    (aside,) = (tmp_path / "orphans").iterdir()
    assert aside.read_bytes() == b"half"
    assert aside.name in caplog.text


def test_a_unit_of_rejects_commits_without_a_shard(tmp_path: Path) -> None:
    assert commit(str(tmp_path), b"", record(b""))
    assert not (tmp_path / "shards").exists()
    assert committed_units(str(tmp_path)) == {"000003"}


@pytest.mark.parametrize("place", ["disk", "s3"])
@pytest.mark.parametrize("contents", [(b"data", b"data"), (b"data", b"other")])
def test_two_writers_of_one_unit(
    place: str, contents: tuple[bytes, bytes], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The second writer finds its own bytes, or gets an error; there is one record, and the shard fits it."""
    root = str(tmp_path) if place == "disk" else storage.join(request.getfixturevalue("s3_root"), "two-writers")
    for attempt in range(10 if place == "disk" else 4):
        out = storage.join(root, f"{contents[1].decode()}-{attempt}")
        outcomes = both_at_once([partial(commit, out, data, record(data)) for data in contents])
        committed = read_ledger(out, UNIT).sha256
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


def test_restore_writes_a_lost_or_damaged_shard_again(tmp_path: Path) -> None:
    commit(str(tmp_path), b"data", record(b"data"))
    ledger = (tmp_path / "ledger" / "000003.json").read_bytes()
    for damage in (b"dama", None):
        (tmp_path / "shards" / "000003.tar").unlink()
        if damage is not None:
            (tmp_path / "shards" / "000003.tar").write_bytes(damage)
        restore(str(tmp_path), b"data", record(b"data"), {digest_of(b"data")})
        assert (tmp_path / "shards" / "000003.tar").read_bytes() == b"data"
        assert (tmp_path / "ledger" / "000003.json").read_bytes() == ledger


def test_restore_commits_a_unit_whose_record_is_lost(tmp_path: Path) -> None:
    restore(str(tmp_path), b"data", record(b"data"), set())
    assert read_ledger(str(tmp_path), UNIT).sha256 == digest_of(b"data")
    assert (tmp_path / "shards" / "000003.tar").read_bytes() == b"data"


def test_restore_refuses_other_bytes_than_were_committed(tmp_path: Path) -> None:
    commit(str(tmp_path), b"data", record(b"data"))
    with pytest.raises(DeterminismError) as caught:
        restore(str(tmp_path), b"other", record(b"other"), {digest_of(b"data")})
    assert caught.value.key == "unit 000003"
    assert digest_of(b"data") in caught.value.expected
    assert (tmp_path / "shards" / "000003.tar").read_bytes() == b"data"


def test_restore_makes_a_forged_record_again_and_touches_no_sound_shard(tmp_path: Path) -> None:
    commit(str(tmp_path), b"data", record(b"data"))
    shard, ledger = tmp_path / "shards" / "000003.tar", tmp_path / "ledger" / "000003.json"
    before = shard.stat().st_mtime_ns
    ledger.write_bytes(ledger.read_bytes().replace(b'"k-v000"', b'"forged"'))
    restore(str(tmp_path), b"data", record(b"data"), {digest_of(b"data"), "0" * 64})
    assert read_ledger(str(tmp_path), UNIT) == record(b"data")
    assert shard.stat().st_mtime_ns == before


@pytest.mark.parametrize("written", [False, True])
def test_whether_anything_was_written(written: bool, tmp_path: Path) -> None:
    assert not anything_written(str(tmp_path))
    commit(str(tmp_path), b"", record(b"", 1))
    if written:
        commit(str(tmp_path), b"data", record(b"data", 2))
    assert anything_written(str(tmp_path)) is written
    (tmp_path / "ledger" / "000001.json").write_text("{")
    assert anything_written(str(tmp_path)), "what cannot be read may be a sample"


def test_a_listing_that_is_late_hides_nothing_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(str(tmp_path), b"data", record(b"data", 2))
    monkeypatch.setattr(storage, "list_names", lambda _: [])
    assert committed_units(str(tmp_path)) == set()
    assert anything_written(str(tmp_path))


def test_first_reasons_are_different_ones(tmp_path: Path) -> None:
    for unit, reason in enumerate(("b", "a", "b", "c", "d")):
        status = SampleStatus(key="k-v000", source_key="k", variant=0, status="rejected", reason=reason)
        commit(str(tmp_path), b"", record(b"", unit).model_copy(update={"samples": (status,)}))
    assert first_reasons(str(tmp_path), map(unit_name, range(5))) == ["b", "a", "c"]


def test_records_come_in_the_order_asked_for_and_few_are_read_ahead(tmp_path: Path) -> None:
    for number in range(200):
        content = json_bytes(record(b"", number).model_dump(mode="json"))
        storage.put_if_absent(ledger_url(str(tmp_path), unit_name(number)), content)
    asked: list[int] = []

    def names() -> Iterator[str]:
        for number in reversed(range(200)):
            asked.append(number)
            yield unit_name(number)

    records = read_ledgers(str(tmp_path), names())
    assert next(records).unit == 199
    assert len(asked) < 100
    assert [found.unit for found in records] == list(reversed(range(199)))
    assert len(asked) == 200


@pytest.mark.parametrize("content", [None, b"{", b"[]"])
def test_an_unreadable_record_is_an_error_that_names_its_file(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        storage.overwrite(ledger_url(str(tmp_path), UNIT), content)
    with pytest.raises(StorageError) as caught:
        read_ledger(str(tmp_path), UNIT)
    assert caught.value.file == ledger_url(str(tmp_path), UNIT)
