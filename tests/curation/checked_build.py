"""A finished build whose gate passed some pictures and marked others."""

from __future__ import annotations

from pathlib import Path

from dentgen.curation.check_sheet import CheckSheet
from dentgen.curation.check_verdicts import CheckVerdicts, Verdict
from dentgen.records import FigureName, GateResult
from tests.report.fake_builds import fake_build, written


def checked_build(out: Path, *, passed: int, failed: int) -> None:
    """Write pictures of one variant pair a record; even numbers of each kind."""
    said: list[tuple[FigureName, ...]] = [()] * (passed // 2)
    said += [("miou",)] * (failed // 2)
    units = [
        written(number, gate=GateResult({"miou": 0.9 if not names else 0.1}, failed=names))
        for number, names in enumerate(said)
    ]
    fake_build(out, units)


def filled_in(sheet: CheckSheet, name: str = "0" * 16, **answers: bool) -> CheckVerdicts:
    """Verdicts on a sheet.

    Args:
        sheet: The sheet.
        name: Whose it is.
        answers: Whether to accept pictures by what the gate said of them; others are skipped.
    """
    verdicts = {
        entry.key: Verdict(accept=answers[entry.gate], reason=None if answers[entry.gate] else "blurred")
        for entry in sheet.entries
        if entry.gate in answers
    }
    return CheckVerdicts(
        sheet=name, index_sha256=sheet.index_sha256, count=sheet.count, seed=sheet.seed, verdicts=verdicts
    )
