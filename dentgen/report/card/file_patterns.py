"""Patterns that match the shards of a version and no other file, for cards of many shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from dentgen.documents.units import unit_name
from dentgen.shards.layout import shard

#: Shards of a split that a card names one by one.
MAX_NAMED: Final = 1000


def shard_paths(names: Sequence[str]) -> list[str]:
    """Paths of shards in a build: one by one or, if they are many, patterns of those that are numbered in a row.

    Every name that a pattern matches is among the shards, so that none of another version and none that is not
    committed yet is read.

    Args:
        names: Names of units, in order.
    """
    if len(names) <= MAX_NAMED:
        return [shard(name) for name in names]
    return [path for first, stop in _runs([int(name) for name in names]) for path in _patterns(first, stop)]


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First number, and one past the last, of numbers in a row."""
    begin = 0
    for place in range(1, len(numbers) + 1):
        if place == len(numbers) or numbers[place] != numbers[place - 1] + 1:
            yield numbers[begin], numbers[place - 1] + 1
            begin = place


def _patterns(first: int, stop: int) -> Iterator[str]:
    """Patterns of whole decimal blocks, the largest that fit: 000012, 00001[3-9], 0000[2-8][0-9], ..."""
    while first < stop:
        name, digits = unit_name(first), 0
        while digits + 1 < len(name) and first % 10 ** (digits + 1) == 0 and first + 10 ** (digits + 1) <= stop:
            digits += 1
        block = 10**digits
        count = min(10 - first // block % 10, (stop - first) // block)
        head, digit = name[: len(name) - digits - 1], name[len(name) - digits - 1]
        last = chr(ord(digit) + count - 1)
        yield shard(head + (digit if count == 1 else f"[{digit}-{last}]") + "[0-9]" * digits)
        first += count * block
