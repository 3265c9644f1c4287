"""Classes of the reasons for which samples are rejected: few, short, and known from a reason's text alone.

The ledger holds a sentence that names file, key, found and expected; whoever counts needs a handful of classes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal, get_args

from dentgen.documents.ledger import LedgerRecord

ReasonClass = Literal[
    "duplicate_key",
    "crashed_reader",
    "not_finite",
    "finding_missed",
    "gate",
    "missing_map",
    "unreadable",
    "invalid",
    "other",
]
REASON_CLASSES: Final[tuple[ReasonClass, ...]] = get_args(ReasonClass)

#: The first that matches decides.
_SIGNS: Final[tuple[tuple[ReasonClass, re.Pattern[str]], ...]] = (
    ("duplicate_key", re.compile(r"expected a key unique in the source")),
    ("crashed_reader", re.compile(r"data that crashed the process reading it")),
    ("not_finite", re.compile(r"gave values that are not finite")),
    ("finding_missed", re.compile(r"finding \d+, .*(expected it to be seen|expected to see it)")),
    ("gate", re.compile(r": gate: \w+ found \S+, expected at (least|most) ")),
    ("missing_map", re.compile(r"expected a member |found none, expected ")),
    ("unreadable", re.compile(r"an unreadable image|expected (a complete|readable|a regular file|one that can be read)"
                              r"|expected a JSON object|found no record")),
    ("invalid", re.compile(r"found .*expected ", re.DOTALL)),
)  # fmt: skip


def reason_class(reason: str) -> ReasonClass:
    """Class of a reason of the ledger."""
    return next((name for name, sign in _SIGNS if sign.search(reason)), "other")


def rejections(records: Iterable[LedgerRecord]) -> Counter[str]:
    """Rejected samples of commit records by class of their reason."""
    return Counter(
        reason_class(sample.reason) for record in records for sample in record.samples if sample.status == "rejected"
    )
