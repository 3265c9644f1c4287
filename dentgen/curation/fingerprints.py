"""Perceptual hashes of many pictures as 64-bit words: those that a build keeps, or computed from its pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen import storage
from dentgen.curation.pictures import Picture, read_pictures
from dentgen.curation.samples import texts, written_samples
from dentgen.errors import StorageError
from dentgen.quality.labelled_pictures import FINGERPRINT_BITS, fingerprint, fingerprint_text
from dentgen.shards.layout import SAMPLES

#: Words of a print.
WORDS: Final = FINGERPRINT_BITS // 64
_DIGITS: Final = FINGERPRINT_BITS // 4


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprints:
    """Prints of n pictures.

    Attributes:
        keys: Keys of the pictures.
        words: (n, 4) uint64, 256 bits each, the first one highest.
        families: (n,) int64; pictures of one family are counterfactuals of one another and meant to look alike.
    """

    keys: tuple[str, ...]
    words: NDArray[np.uint64]
    families: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.keys)


def build_fingerprints(out: str) -> Fingerprints:
    """Prints of the written samples of a build, in its order.

    A build with a gate keeps them in its table of samples, of pictures before ``augment``. Those that are missing are
    computed from the finished pictures, for which all shards are read.

    Raises:
        BuildError: If the build is not finished, or a shard is damaged.
        StorageError: If something cannot be read, or a stored print is none.
    """
    table = written_samples(out, ["fingerprint", "reference"])
    keys, prints = tuple(texts(table, "key")), texts(table, "fingerprint")
    missing = [key for key, text in zip(keys, prints, strict=True) if not text]
    made = {picture.key: _text(picture) for picture in read_pictures(out, missing)}
    stored = [text or made[key] for key, text in zip(keys, prints, strict=True)]
    references = [reference or key for key, reference in zip(keys, texts(table, "reference"), strict=True)]
    return Fingerprints(keys, print_words(stored, storage.join(out, SAMPLES)), _numbers(references))


def picture_fingerprints(pictures: Iterable[Picture]) -> Fingerprints:
    """Prints of pictures, each a family of its own."""
    found = [(picture.key, _text(picture)) for picture in pictures]
    keys = tuple(key for key, _ in found)
    return Fingerprints(keys, print_words([text for _, text in found]), np.arange(len(keys), dtype=np.int64))


def print_words(prints: Sequence[str], place: str = "") -> NDArray[np.uint64]:
    """Prints of 64 hexadecimal digits as (n, 4) uint64.

    Args:
        prints: The prints.
        place: Where they are from, for messages.

    Raises:
        StorageError: If one has another length or other characters.
    """
    for text in prints:
        if len(text) != _DIGITS or not set(text) <= set("0123456789abcdef"):
            raise StorageError(
                file=storage.without_secrets(place), key="fingerprint", found=text[:80],
                expected=f"{_DIGITS} hexadecimal digits",
            )  # fmt: skip
    content = np.frombuffer(bytes.fromhex("".join(prints)), ">u8")
    return content.reshape(len(prints), WORDS).astype(np.uint64)


def _text(picture: Picture) -> str:
    return fingerprint_text(fingerprint(picture.pixels))


def _numbers(names: Sequence[str]) -> NDArray[np.int64]:
    """A number for every name, the same for the same."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)
