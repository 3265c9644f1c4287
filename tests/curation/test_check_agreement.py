"""Agreement of people with the gate and among themselves, against counts by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.curation.check_agreement import check_agreement, cohens_kappa, keep_and_compare, most_reviewed
from dentgen.curation.check_sheet import CheckSheet, SheetEntry, draw_sheet
from dentgen.curation.check_verdicts import CheckVerdicts, Verdict, store_verdicts
from dentgen.errors import StorageError
from tests.curation.checked_build import checked_build, filled_in

YES, NO = Verdict(accept=True), Verdict(accept=False, reason="light")
ENTRIES = tuple(SheetEntry(key, "a.tar", "passed" if key < "e" else "failed") for key in "abcdefgh")
SHEET = CheckSheet("sha", 8, 0, ENTRIES, {"passed": 90, "failed": 10, "none": 0})


def sheet_of(answers: str) -> CheckVerdicts:
    """Verdicts on pictures a, b, ...: y, n, or - where it was skipped."""
    verdicts = {
        key: YES if answer == "y" else NO for key, answer in zip("abcdefgh", answers, strict=False) if answer != "-"
    }
    return CheckVerdicts(sheet="0" * 16, index_sha256="sha", count=8, seed=0, verdicts=verdicts)


def test_shares_count_as_often_as_the_build_has_the_pictures() -> None:
    found = check_agreement(SHEET, [sheet_of("yyynnnyn")])
    assert (found.reviewers, found.verdicts, found.accepted) == (1, 8, 0.5)
    assert (found.passed_accepted, found.failed_rejected) == (0.75, 0.75)
    assert found.agree == pytest.approx(0.75)
    assert found.usable == pytest.approx(0.9 * 0.75 + 0.1 * 0.25)
    assert found.kappa == pytest.approx(0.5)
    assert found.reasons == {"light": 4}
    assert found.among_reviewers is None


def test_pictures_that_failed_weigh_little_in_a_good_build() -> None:
    found = check_agreement(SHEET, [sheet_of("yyyyyyyy")])
    assert (found.passed_accepted, found.failed_rejected) == (1, 0)
    assert found.agree == pytest.approx(0.9)
    assert found.usable == pytest.approx(1)
    assert found.kappa is None


def test_what_nobody_looked_at_leaves_no_figure_for_the_whole() -> None:
    found = check_agreement(SHEET, [sheet_of("yy------")])
    assert (found.passed_accepted, found.failed_rejected, found.agree, found.usable) == (1, None, None, None)


def test_reviewers_are_compared_where_both_answered() -> None:
    found = check_agreement(SHEET, [sheet_of("yyyynnnn"), sheet_of("yynn-nyn")])
    assert found.among_reviewers == pytest.approx(4 / 7)
    assert (found.reviewers, found.verdicts) == (2, 15)


def test_without_a_gate_there_is_only_what_people_say() -> None:
    sheet = CheckSheet(
        "sha", 2, 0, tuple(SheetEntry(k, "a.tar", "none") for k in "ab"), {"passed": 0, "failed": 0, "none": 5}
    )
    found = check_agreement(sheet, [sheet_of("yn")])
    assert (found.accepted, found.usable, found.agree, found.kappa) == (0.5, 0.5, None, None)


def test_kappa_of_a_textbook_table() -> None:
    """20 both yes, 5 only the first, 10 only the second, 15 both no: .4 (en.wikipedia.org/wiki/Cohen's_kappa)."""
    pairs = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15
    assert cohens_kappa(pairs) == pytest.approx(0.4)
    assert cohens_kappa([(True, True)] * 3) is None
    assert cohens_kappa([(True, True), (True, False)]) is None
    assert cohens_kappa([]) is None


def test_sheets_add_up_and_others_are_refused(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    checked_build(tmp_path / "out", passed=6, failed=2)
    sheet = draw_sheet(out, 4)
    for number, answers in enumerate([{"passed": True, "failed": False}, {"passed": False, "failed": False}]):
        (tmp_path / f"{number}.json").write_text(filled_in(sheet, f"{number:016x}", **answers).model_dump_json())
    assert keep_and_compare(out, [str(tmp_path / "0.json")]).agree == pytest.approx(1)
    both = keep_and_compare(out, [str(tmp_path / "1.json")])
    assert (both.reviewers, both.passed_accepted, both.failed_rejected) == (2, 0.5, 1)
    assert keep_and_compare(out, [str(tmp_path / "1.json")]) == both, "once, however often it is read"
    other = filled_in(draw_sheet(out, 4, seed=1), passed=True)
    (tmp_path / "other.json").write_text(other.model_dump_json())
    with pytest.raises(StorageError) as caught:
        keep_and_compare(out, [str(tmp_path / "0.json"), str(tmp_path / "other.json")])
    assert caught.value.key == "seed"


def test_a_kept_sheet_on_other_pictures_is_named(tmp_path: Path) -> None:
    checked_build(tmp_path, passed=4, failed=2)
    own = filled_in(draw_sheet(str(tmp_path), 4), passed=True)
    strange = own.model_copy(update={"verdicts": {"strange": YES}})
    store_verdicts(str(tmp_path), strange)
    with pytest.raises(StorageError) as caught:
        most_reviewed(str(tmp_path))
    assert (caught.value.key, caught.value.found) == ("verdicts", "strange")
    assert str(caught.value.file).endswith("review/0000000000000000.json")
