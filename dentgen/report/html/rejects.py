"""Why samples were rejected, grouped: a damaged exporter gives ten thousand messages with other names and numbers each.

Refuses to know how a reason came about; it only knows the form 'PLACE: found X, expected Y' of dentgen's messages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from dentgen.report.html.tally import value_counts

EXAMPLES: Final = 3
#: Groups kept apart; what a source makes up beyond them is counted together.
MOST_GROUPS: Final = 500
OTHER: Final = "other reasons"

_ELLIPSIS: Final = "\N{HORIZONTAL ELLIPSIS}"
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"")
_NUMBER: Final = re.compile(r"0x[0-9a-fA-F]+|\d+(?:[.,]\d+)*")
_LIST: Final = re.compile(rf"((?:'{_ELLIPSIS}': )?(?:N|'{_ELLIPSIS}'|\(N, {_ELLIPSIS}\)))(?:, \1)+")
_LONGEST: Final = 300


@dataclass(frozen=True, slots=True)
class RejectGroup:
    """Samples rejected for one kind of reason, with some of the messages in full."""

    reason: str
    samples: int
    examples: tuple[str, ...]


@dataclass(slots=True)
class _Open:
    samples: int = 0
    examples: list[str] = field(default_factory=list)


class RejectGroups:
    """Groups that grow while the table of samples streams by."""

    def __init__(self) -> None:
        """Begin with none."""
        self._groups: dict[str, _Open] = {}

    def add(self, reasons: Any) -> None:
        """Group an Arrow array of reasons of rejected samples."""
        for reason, samples in value_counts(reasons).items():
            name = generalised(reason or "")
            if name not in self._groups and len(self._groups) >= MOST_GROUPS:
                name = OTHER
            group = self._groups.setdefault(name, _Open())
            group.samples += samples
            if len(group.examples) < EXAMPLES and reason not in group.examples:
                group.examples.append(reason or "")

    def ranked(self) -> tuple[RejectGroup, ...]:
        """Groups, the largest first."""
        ranked = sorted(self._groups.items(), key=lambda item: (-item[1].samples, item[0]))
        return tuple(RejectGroup(name, group.samples, tuple(group.examples)) for name, group in ranked)


def generalised(reason: str) -> str:
    """The kind of a reason: without its place, and what was found without its numbers and quoted parts.

    What was expected is dentgen's own text and tells kinds apart, so it stays as it is.
    """
    _, is_usual, found = reason.partition(": found ")
    if not is_usual:
        place, has_place, rest = reason.partition(": ")
        return _shape(rest if has_place else place) or "no reason given"
    found, has_expected, expected = found.rpartition(", expected ")
    if not has_expected:
        return f"found {_shape(expected)}"
    return f"found {_shape(found)}, expected {expected[:_LONGEST]}"


def _shape(text: str) -> str:
    text = _NUMBER.sub("N", _QUOTED.sub(f"'{_ELLIPSIS}'", text))
    for _ in ("pairs", "lists of pairs"):
        text = _LIST.sub(rf"\1, {_ELLIPSIS}", text)
    return text[:_LONGEST]
