"""Group rejected samples by the kind of their reason.

Reasons have the form 'PLACE: found X, expected Y'. One defect in a source may reject thousands of samples with messages
that differ only in names and numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from dentgen.shards.sample_table import value_counts

EXAMPLES: Final = 3
#: Maximum number of groups; further kinds of reasons are counted as ``OTHER``.
MAX_GROUPS: Final = 500
OTHER: Final = "other reasons"

_ELLIPSIS: Final = "\N{HORIZONTAL ELLIPSIS}"
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"")
_NUMBER: Final = re.compile(r"0x[0-9a-fA-F]+|\d+(?:[.,]\d+)*")
_LIST: Final = re.compile(rf"((?:'{_ELLIPSIS}': )?(?:N|'{_ELLIPSIS}'|\(N, {_ELLIPSIS}\)))(?:, \1)+")
_MAX_LENGTH: Final = 300


@dataclass(frozen=True, slots=True)
class RejectGroup:
    """Samples rejected for one kind of reason, with some of the full messages."""

    reason: str
    samples: int
    examples: tuple[str, ...]


@dataclass(slots=True)
class _OpenGroup:
    samples: int = 0
    examples: list[str] = field(default_factory=list)


class RejectGroups:
    """Groups that grow as the table of samples streams by."""

    def __init__(self) -> None:
        """Start without groups."""
        self._groups: dict[str, _OpenGroup] = {}

    def add(self, reasons: Any) -> None:
        """Add the reasons of rejected samples, an Arrow array of strings."""
        for reason, samples in value_counts(reasons).items():
            name = generalised(reason or "")
            if name not in self._groups and len(self._groups) >= MAX_GROUPS:
                name = OTHER
            group = self._groups.setdefault(name, _OpenGroup())
            group.samples += samples
            if len(group.examples) < EXAMPLES and reason not in group.examples:
                group.examples.append(reason or "")

    def ranked(self) -> tuple[RejectGroup, ...]:
        """All groups, the largest first."""
        ranked = sorted(self._groups.items(), key=lambda item: (-item[1].samples, item[0]))
        return tuple(RejectGroup(name, group.samples, tuple(group.examples)) for name, group in ranked)


def generalised(reason: str) -> str:
    """The kind of a reason: without its place, and with placeholders for numbers and quoted parts of what was found.

    What was expected stays as it is, because that text is dentgen's own and tells the kinds apart.
    """
    _, has_found, found = reason.partition(": found ")
    if not has_found:
        place, has_place, rest = reason.partition(": ")
        return _shape(rest if has_place else place) or "no reason given"
    found, has_expected, expected = found.rpartition(", expected ")
    if not has_expected:
        return f"found {_shape(expected)}"
    return f"found {_shape(found)}, expected {expected[:_MAX_LENGTH]}"


def _shape(text: str) -> str:
    """The text with placeholders for quoted parts, numbers and repetitions in lists."""
    text = _NUMBER.sub("N", _QUOTED.sub(f"'{_ELLIPSIS}'", text))
    for _ in ("pairs", "lists of pairs"):
        text = _LIST.sub(rf"\1, {_ELLIPSIS}", text)
    return text[:_MAX_LENGTH]
