"""One thing that verification found, and what would mend it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a build.

    Attributes:
        place: File under the build, or file and key.
        text: What was found and what was expected.
        unit: Unit whose regeneration would fix it, None if none would.
        derived: File that sealing again would fix, "" if it would not.
        stray: File that belongs to nothing in the plan and that a repair removes, "" if there is none.
    """

    place: str
    text: str
    unit: int | None = None
    derived: str = ""
    stray: str = ""

    def __str__(self) -> str:
        """One line."""
        return f"{self.place}: {self.text}"
