"""Keys that some file systems do not tell apart: macOS and Windows ignore case, macOS also how accents are composed."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from dentgen.conditions.readers.raw import ShardIndex, short

_LOG = logging.getLogger(__name__)
_MOST: Final = 5


def warn_of_twins(indexes: Sequence[ShardIndex]) -> list[tuple[str, str]]:
    """Log pairs of keys that would overwrite each other where a dataset is unpacked on macOS or Windows.

    Args:
        indexes: The shards of a source.

    Returns:
        Each such key with the first one that it may be taken for, in reading order.
    """
    suspects = _repeated(hash(folded_name(key)) for index in indexes for key in index.keys)
    first: dict[str, str] = {}
    twins: list[tuple[str, str]] = []
    for key in (key for index in indexes for key in index.keys) if suspects else ():
        folded = folded_name(key)
        if hash(folded) in suspects and first.setdefault(folded, key) != key:
            twins.append((first[folded], key))
    for one, other in twins[:_MOST]:
        _LOG.warning("keys that macOS and Windows do not tell apart: %s and %s", _shown(one), _shown(other))
    if len(twins) > _MOST:
        _LOG.warning("and %d more keys that macOS and Windows do not tell apart", len(twins) - _MOST)
    return twins


def _repeated(hashes: Iterable[int]) -> set[int]:
    """Hashes that occur more than once; numbers take megabytes where a set of all keys would take a gigabyte."""
    found = np.sort(np.fromiter(hashes, np.int64))
    return set(found[1:][found[1:] == found[:-1]].tolist())


def folded_name(key: str) -> str:
    """What remains of a key where case and the composition of accents make no difference."""
    return key.lower() if key.isascii() else unicodedata.normalize("NFC", unicodedata.normalize("NFC", key).casefold())


def _shown(key: str) -> str:
    """The key, with what tells two compositions of one accent apart."""
    return short(key if key.isascii() else ascii(key))
