"""What a decision table compares: candidates, each a name, changes of the build spec, and what is trained for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from dentgen.errors import SpecError

#: Stands for the seed's number in a candidate's changes, so that every seed has a training of its own.
SEED: Final = "{seed}"


@dataclass(frozen=True, slots=True)
class Training:
    """Parts of a bundle that are trained for a candidate; candidates with equal trainings share them.

    Attributes:
        name: Names the folders, together with the seed.
        parts: Keys of the training spec of every part, beside those that are equal in the whole table: source, images,
            steps, batch, seed and places.
    """

    name: str
    parts: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row of a table.

    Attributes:
        name: Any text.
        changes: ``a.b=value`` changes of the table's build spec; ``{seed}`` in them is the number of the seed.
        training: What has to be trained before, into a copy of the spec's bundle; None for nothing.
    """

    name: str
    changes: tuple[str, ...]
    training: Training | None = None


@dataclass(frozen=True, slots=True)
class DecisionTable:
    """A question and its candidates; the first one is what times are relative to.

    Attributes:
        number: ``T2`` to ``T6``.
        question: What the table decides.
        candidates: Rows, in order.
        note: What the reader has to know to read it.
    """

    number: str
    question: str
    candidates: tuple[Candidate, ...]
    note: str = ""

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            SpecError: If there is no candidate, or two have the same name.
        """
        names = Counter(candidate.name for candidate in self.candidates)
        repeated = [name for name, count in names.items() if count > 1]
        if repeated or not names:
            found = f"{repeated[0]!r} twice" if repeated else "no candidate"
            raise SpecError(key=f"candidates of {self.number}", found=found, expected="candidates of different names")

    @property
    def trainings(self) -> tuple[Training, ...]:
        """Different trainings that the candidates need, in order."""
        by_name = {each.training.name: each.training for each in self.candidates if each.training is not None}
        return tuple(by_name.values())

    @property
    def untrained(self) -> DecisionTable:
        """The table without the rows that need training.

        Raises:
            SpecError: If none is left.
        """
        return replace(self, candidates=tuple(each for each in self.candidates if each.training is None))

    def only(self, texts: Sequence[str]) -> DecisionTable:
        """The rows whose names contain one of the texts; all of them if there is no text.

        Raises:
            SpecError: If none is left.
        """
        if not texts:
            return self
        return replace(self, candidates=tuple(each for each in self.candidates if any(t in each.name for t in texts)))
