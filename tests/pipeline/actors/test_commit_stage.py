"""The commit stage: one row in, one row out; errors travel as rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.samples import SampleStatus
from dentgen.errors import BuildError
from dentgen.pipeline.actors.commit_stage import commit_made, commit_unit, error_text, outcome_of
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.ledger import UnitResult, digest_of, read_ledger


def record(shard: bytes) -> LedgerRecord:
    samples = tuple(SampleStatus(key=f"k-v00{n}", source_key="k", variant=n, status="written") for n in range(2))
    return LedgerRecord(
        unit=3, spec_digest="s", bundle_digest="b", shard="000003.tar", bytes=len(shard), sha256=digest_of(shard),
        samples=samples,
    )  # fmt: skip


def batch(shard: bytes, text: str, *, error: str = "", fatal: bool = False) -> dict[str, np.ndarray]:
    """A row as the actor hands it over."""
    row = {"unit": 3, "shard": shard, "record": text, "error": error, "fatal": fatal}
    return {name: np.array([value], dtype=object) for name, value in row.items()}


def made(shard: bytes, **row: object) -> dict[str, np.ndarray]:
    return batch(shard, record(shard).model_dump_json(), **row)  # type: ignore[arg-type]


def outcome(row: dict[str, list[Any]]) -> UnitOutcome:
    return outcome_of({name: value for name, (value,) in row.items()})


def test_a_unit_is_committed_and_its_bytes_travel_no_further(tmp_path: Path) -> None:
    row = commit_made(made(b"data"), str(tmp_path), None)
    assert outcome(row) == UnitOutcome(3, 2, bytes=4)
    assert 0 < outcome(row).put_seconds < 60
    assert set(row) == {"unit", "outcome"}
    assert (tmp_path / "shards" / "000003.tar").read_bytes() == b"data"
    assert read_ledger(str(tmp_path), "000003").sha256 == digest_of(b"data")


def test_an_error_of_the_actor_is_passed_on_and_nothing_is_written(tmp_path: Path) -> None:
    row = commit_made(batch(b"", "", error="planted", fatal=True), str(tmp_path), None)
    assert outcome(row) == UnitOutcome(3, 0, "planted", fatal=True)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_commit_becomes_a_row(tmp_path: Path) -> None:
    commit_made(made(b"data"), str(tmp_path), None)
    row = commit_made(made(b"other"), str(tmp_path), None)
    failed = outcome(row)
    assert (failed.samples, failed.fatal) == (0, False)
    assert "unit 000003" in failed.error
    assert "Traceback" not in failed.error
    assert (tmp_path / "shards" / "000003.tar").read_bytes() == b"data"


def test_a_unit_outside_ray_data_is_committed_likewise(tmp_path: Path) -> None:
    assert commit_unit(UnitResult(b"data", record(b"data")), str(tmp_path), None) == UnitOutcome(3, 2, bytes=4)
    failed = commit_unit(UnitResult(b"other", record(b"other")), str(tmp_path), None)
    assert (failed.unit, failed.samples, failed.fatal) == (3, 0, False)
    assert "unit 000003" in failed.error
    assert "KeyError" in commit_unit(UnitResult(b"data", record(b"data")), str(tmp_path), {}).error
    assert (tmp_path / "shards" / "000003.tar").read_bytes() == b"data"


def test_an_unexpected_error_becomes_a_row_with_its_traceback(tmp_path: Path) -> None:
    assert "Traceback" in outcome(commit_made(batch(b"data", "{"), str(tmp_path), None)).error
    assert not (tmp_path / "shards").exists()


def test_restoring_replaces_a_damaged_shard(tmp_path: Path) -> None:
    commit_made(made(b"data"), str(tmp_path), None)
    (tmp_path / "shards" / "000003.tar").write_bytes(b"dama")
    assert not outcome(commit_made(made(b"data"), str(tmp_path), None)).error, "a commit trusts the ledger"
    assert (tmp_path / "shards" / "000003.tar").read_bytes() == b"dama"
    assert not outcome(commit_made(made(b"data"), str(tmp_path), {3: {digest_of(b"data")}})).error
    assert (tmp_path / "shards" / "000003.tar").read_bytes() == b"data"


@pytest.mark.parametrize(("error", "traced"), [(BuildError("planted"), False), (KeyError("planted"), True)])
def test_errors_of_dentgen_need_no_traceback(error: Exception, traced: bool) -> None:
    text = error_text(error)
    assert "planted" in text
    assert ("KeyError" in text) is traced


def test_tracebacks_in_rows_show_no_secrets() -> None:
    text = error_text(OSError("https://user:hunter2@host/x?sig=hunter2 \x1b[2J"))
    assert "OSError: https://host/x?... \\x1b[2J" in text
    assert "hunter2" not in text
