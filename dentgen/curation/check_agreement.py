"""Whether people and the gate, and people among themselves, agree on the pictures of a check sheet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from dentgen.curation.check_sheet import CheckSheet, draw_sheet
from dentgen.curation.check_verdicts import (
    CheckVerdicts,
    Reason,
    Verdict,
    is_of_sheet,
    read_verdicts,
    require_of_sheet,
    store_verdicts,
    stored_verdicts,
)
from dentgen.shards.index_reader import index_sha256


@dataclass(frozen=True, slots=True)
class CheckAgreement:
    """What came of a check sheet. Shares are 0..1; None where there was nothing to count.

    Attributes:
        reviewers: Filled-in sheets.
        verdicts: Verdicts in all of them.
        accepted: Share of them that accept the picture.
        passed_accepted: Share of the verdicts on pictures that passed the gate which accept them.
        failed_rejected: Share of the verdicts on pictures that failed it which reject them.
        agree: Share of the verdicts that say what the gate said, as it would be over all written pictures: those that
            passed and those that failed count as often as the build has them, not as often as the sheet shows them.
        kappa: Cohen's kappa of people and gate on the sheet, -1..1 (Cohen 1960).
        usable: Share of all written pictures that people would accept, weighted likewise.
        among_reviewers: Share of the pictures on which two reviewers agree, mean over the pairs of reviewers.
        reviewers_kappa: Their Cohen's kappa, likewise.
        reasons: Why pictures were rejected.
    """

    reviewers: int
    verdicts: int
    accepted: float | None
    passed_accepted: float | None
    failed_rejected: float | None
    agree: float | None
    kappa: float | None
    usable: float | None
    among_reviewers: float | None
    reviewers_kappa: float | None
    reasons: Mapping[Reason, int] = field(default_factory=dict)

    @property
    def figures(self) -> dict[str, float | None]:
        """The figures by name, with a figure for each reason that somebody gave."""
        names = (
            "reviewers", "verdicts", "accepted", "passed_accepted", "failed_rejected", "agree", "kappa", "usable",
            "among_reviewers", "reviewers_kappa",
        )  # fmt: skip
        found = {name: None if (value := getattr(self, name)) is None else float(value) for name in names}
        return found | {f"rejected_{reason}": float(count) for reason, count in sorted(self.reasons.items())}


def keep_and_compare(out: str, files: Sequence[str]) -> CheckAgreement:
    """Read filled-in sheets, keep them beside the build, and count them together with those that were kept before.

    Args:
        out: The build.
        files: Files or URLs; of one draw.

    Raises:
        BuildError: If the build is not finished, or has no version of which the first sheet is.
        StorageError: If a file is no filled-in sheet, or of another draw or version than the first one.
    """
    filled_in = [read_verdicts(file) for file in files]
    first = filled_in[0]
    sheet = draw_sheet(out, first.count, first.seed, first.index_sha256)
    for file, verdicts in zip(files, filled_in, strict=True):
        require_of_sheet(verdicts, sheet, file)
    for verdicts in filled_in:
        store_verdicts(out, verdicts)
    return kept_agreement(out, sheet)


def kept_agreement(out: str, sheet: CheckSheet) -> CheckAgreement:
    """Count what is kept beside a build of one sheet.

    Raises:
        StorageError: If a file beside the build is none of verdicts.
    """
    return check_agreement(sheet, _of_sheet(stored_verdicts(out), sheet))


def _of_sheet(stored: Iterable[tuple[str, CheckVerdicts]], sheet: CheckSheet) -> list[CheckVerdicts]:
    """What is kept of one sheet; verdicts of other draws and versions are passed over."""
    own = [(file, each) for file, each in stored if is_of_sheet(each, sheet)]
    for file, each in own:
        require_of_sheet(each, sheet, file)
    return [each for _, each in own]


def most_reviewed(out: str) -> tuple[CheckSheet, list[CheckVerdicts]] | None:
    """The sheet of the latest version with the most verdicts, and these; None if nobody looked at it.

    Raises:
        BuildError: If the build is not finished.
        StorageError: If a file beside the build is none of verdicts.
    """
    latest, stored = index_sha256(out), list(stored_verdicts(out))
    draws = Counter[tuple[int, int]]()
    for _, each in stored:
        if each.index_sha256 == latest:
            draws[each.count, each.seed] += len(each.verdicts)
    if not draws:
        return None
    count, seed = max(sorted(draws), key=lambda draw: draws[draw])
    sheet = draw_sheet(out, count, seed)
    return sheet, _of_sheet(stored, sheet)


def check_agreement(sheet: CheckSheet, filled_in: Sequence[CheckVerdicts]) -> CheckAgreement:
    """Count what people said of a sheet.

    Args:
        sheet: The sheet.
        filled_in: What each reviewer said; keys are those of the sheet.
    """
    gate = {entry.key: entry.gate for entry in sheet.entries}
    said = [(gate[key], verdict.accept) for each in filled_in for key, verdict in each.verdicts.items()]
    judged = [(known == "passed", accept) for known, accept in said if known != "none"]
    passed_accepted = _share([accept for passed, accept in judged if passed])
    failed_rejected = _share([not accept for passed, accept in judged if not passed])
    pairs = [_both(one, other) for one, other in combinations([each.verdicts for each in filled_in], 2)]
    return CheckAgreement(
        reviewers=len(filled_in),
        verdicts=len(said),
        accepted=_share([accept for _, accept in said]),
        passed_accepted=passed_accepted,
        failed_rejected=failed_rejected,
        agree=_weighted(sheet, passed_accepted, failed_rejected),
        kappa=cohens_kappa(judged),
        usable=_usable(sheet, said),
        among_reviewers=_mean([_share([one == other for one, other in pair]) for pair in pairs]),
        reviewers_kappa=_mean([cohens_kappa(pair) for pair in pairs]),
        reasons=Counter(v.reason for each in filled_in for v in each.verdicts.values() if v.reason is not None),
    )


def cohens_kappa(pairs: Sequence[tuple[bool, bool]]) -> float | None:
    """Cohen's kappa of two raters; None without pairs, or if one always says the same: there is nothing to agree on.

    Args:
        pairs: What each of them said of each picture.
    """
    if not pairs:
        return None
    first, second = (sum(pair[n] for pair in pairs) / len(pairs) for n in (0, 1))
    if {first, second} & {0.0, 1.0}:
        return None
    by_chance = first * second + (1 - first) * (1 - second)
    found = sum(one == other for one, other in pairs) / len(pairs)
    return (found - by_chance) / (1 - by_chance)


def _share(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _both(one: Mapping[str, Verdict], other: Mapping[str, Verdict]) -> list[tuple[bool, bool]]:
    return [(one[key].accept, other[key].accept) for key in sorted(one.keys() & other.keys())]


def _weighted(sheet: CheckSheet, passed: float | None, failed: float | None) -> float | None:
    """The mean of two shares, weighted by how many pictures passed and failed in the build."""
    known = [(sheet.written["passed"], passed), (sheet.written["failed"], failed)]
    if any(count and share is None for count, share in known):
        return None
    total = sum(count for count, _ in known)
    return sum(count * share for count, share in known if share is not None) / total if total else None


def _usable(sheet: CheckSheet, said: Sequence[tuple[str, bool]]) -> float | None:
    by_gate = {name: _share([accept for gate, accept in said if gate == name]) for name in sheet.written}
    if any(count and by_gate[gate] is None for gate, count in sheet.written.items()):
        return None
    total = sum(sheet.written.values())
    return sum(count * (by_gate[gate] or 0.0) for gate, count in sheet.written.items()) / total if total else None
