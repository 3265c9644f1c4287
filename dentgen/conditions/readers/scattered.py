"""Keys whose members do not stand together in a tar: each is one refused record, whatever lies between its members."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, TypeVar

from dentgen.errors import ConditionError

_Item = TypeVar("_Item")
BETWEEN: Final = "members of other records between those of this one"
TOGETHER: Final = "all members of a record together, as 'tar --sort=name' writes them"


class ScatteredKeys:
    """Collects groups of neighbouring members and tells scattered records from duplicates.

    Attributes:
        keys: Scattered keys noted so far.
    """

    def __init__(self) -> None:
        """Nothing noted yet."""
        self.keys: set[str] = set()
        self._members: dict[str, frozenset[str]] = {}
        self._shared: dict[frozenset[str], frozenset[str]] = {}

    def note(self, key: str, extensions: Collection[str]) -> None:
        """Add a group; one without any member of an earlier group is the rest of a record, not a duplicate."""
        earlier = self._members.get(key, frozenset())
        if earlier and earlier.isdisjoint(extensions):
            self.keys.add(key)
        union = earlier.union(extensions)
        self._members[key] = self._shared.setdefault(union, union)  # records of a tar mostly have the same members

    def once(self, items: Iterable[_Item], key_of: Callable[[_Item], str]) -> Iterator[_Item]:
        """All items but those of a scattered key after its first."""
        begun: set[str] = set()
        for item in items:
            key = key_of(item)
            if key not in begun:
                yield item
            if key in self.keys:
                begun.add(key)

    def problem(self, place: str) -> ConditionError:
        """Why a scattered record is refused."""
        return ConditionError(place, BETWEEN, TOGETHER)
