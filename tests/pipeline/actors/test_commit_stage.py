"""The commit stage: one unit in, one outcome out; errors are outcomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.documents import LedgerRecord, SampleStatus
from dentgen.errors import BuildError
from dentgen.pipeline.actors.commit_stage import UnitOutcome, commit_unit, error_text
from dentgen.shards.ledger import UnitResult, digest_of, read_ledger


def record(shard: bytes) -> LedgerRecord:
    samples = tuple(SampleStatus(key=f"k-v00{n}", source_key="k", variant=n, status="written") for n in range(2))
    return LedgerRecord(
        unit=3, spec_digest="s", bundle_digest="b", shard="000003.tar", bytes=len(shard), sha256=digest_of(shard),
        samples=samples,
    )  # fmt: skip


def made(shard: bytes) -> UnitResult:
    return UnitResult(shard, record(shard))


def test_a_unit_is_committed(tmp_path: Path) -> None:
    assert commit_unit(made(b"data"), str(tmp_path), None) == UnitOutcome(3, 2)
    assert (tmp_path / "shards" / "000003.tar").read_bytes() == b"data"
    assert read_ledger(str(tmp_path), "000003").sha256 == digest_of(b"data")


def test_an_error_of_the_commit_is_its_outcome(tmp_path: Path) -> None:
    commit_unit(made(b"data"), str(tmp_path), None)
    outcome = commit_unit(made(b"other"), str(tmp_path), None)
    assert (outcome.unit, outcome.samples, outcome.fatal) == (3, 0, False)
    assert "unit 000003" in outcome.error
    assert "Traceback" not in outcome.error
    assert (tmp_path / "shards" / "000003.tar").read_bytes() == b"data"


def test_an_unexpected_error_is_an_outcome_with_its_traceback(tmp_path: Path) -> None:
    outcome = commit_unit(made(b"data"), str(tmp_path), {})
    assert "Traceback" in outcome.error
    assert "KeyError" in outcome.error
    assert not (tmp_path / "shards").exists()


def test_restoring_replaces_a_damaged_shard(tmp_path: Path) -> None:
    commit_unit(made(b"data"), str(tmp_path), None)
    (tmp_path / "shards" / "000003.tar").write_bytes(b"dama")
    assert commit_unit(made(b"data"), str(tmp_path), None).error == "", "a commit trusts the ledger"
    assert (tmp_path / "shards" / "000003.tar").read_bytes() == b"dama"
    assert commit_unit(made(b"data"), str(tmp_path), {3: {digest_of(b"data")}}).error == ""
    assert (tmp_path / "shards" / "000003.tar").read_bytes() == b"data"


@pytest.mark.parametrize(("error", "traced"), [(BuildError("planted"), False), (KeyError("planted"), True)])
def test_errors_of_dentgen_need_no_traceback(error: Exception, traced: bool) -> None:
    text = error_text(error)
    assert "planted" in text
    assert ("KeyError" in text) is traced


def test_tracebacks_show_no_secrets() -> None:
    text = error_text(OSError("https://user:hunter2@host/x?sig=hunter2 \x1b[2J"))
    assert "OSError: https://host/x?... \\x1b[2J" in text
    assert "hunter2" not in text
