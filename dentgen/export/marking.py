"""Watermarks in exported copies of pictures: the file with the key, and samples with marked pictures.

A build's own files never change. Only the path of the key travels to other processes.
"""

from __future__ import annotations

import hmac
import io
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from dentgen.errors import ConditionError, SpecError
from dentgen.export.signing import source_type_of
from dentgen.export.source import ExportSample
from dentgen.export.watermark import THRESHOLD, Pixels, Signs, marked, score, signs_of
from dentgen.records import ImageFormat
from dentgen.shards.tar import image_bytes

_LEAST_KEY: Final = 16
_LARGEST_KEY: Final = 4096
_EXPECTED: Final = "16 to 4,096 random bytes, as openssl rand -out KEYFILE 32 writes them"
_IDENTIFIER_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class Marker:
    """What marks pictures. Only the path travels to other processes, which read the file themselves.

    Attributes:
        key: File with the key, 16 to 4096 bytes.
    """

    key: str

    def checked(self) -> str:
        """Read the key; returns its identifier, which tells nothing of it: 16 digits of an HMAC-SHA256.

        Raises:
            SpecError: If it cannot be used.
        """
        pattern_in.cache_clear()  # the file may have changed since the last export
        return hmac.digest(_read_key(self.key), b"dentgen watermark id", "sha256").hex()[:_IDENTIFIER_DIGITS]

    def marked(self, sample: ExportSample, extension: ImageFormat | None = None) -> ExportSample:
        """The sample with its picture marked and encoded anew, as builds encode it; its labels stay.

        Args:
            sample: A generated picture.
            extension: File extension that the picture gets; None for the one that it has.

        Raises:
            ConditionError: If the picture is too small, or so poor in detail that the mark would not be found.
            SpecError: If the sample is no generated picture, or the key cannot be used.
        """
        signs, source_type = pattern_in(self.key), source_type_of(sample)
        written = extension or sample.extension
        content = image_bytes(marked(_pixels(sample.picture), signs, sample.key), written, source_type)
        found = score(_pixels(content), signs, sample.key)
        if found <= THRESHOLD:
            expected = f"over {THRESHOLD:g}: a picture with enough detail to hide a watermark in"
            raise ConditionError(sample.key, f"a mark of z {found:.1f}", expected)
        return replace(sample, picture=content, extension=written)


@lru_cache(maxsize=1)
def pattern_in(file: str) -> Signs:
    """Pattern of the key in a file, which is read once.

    Raises:
        SpecError: If it cannot be used.
    """
    return signs_of(_read_key(file))


def _read_key(file: str) -> bytes:
    """The key; errors never quote it."""
    try:
        with Path(file).open("rb") as stream:
            key = stream.read(_LARGEST_KEY + 1)
    except OSError as error:
        raise SpecError(file=file, found=error.strerror or "nothing", expected=_EXPECTED) from error
    if not _LEAST_KEY <= len(key) <= _LARGEST_KEY:
        found = f"{len(key)} bytes" if len(key) < _LEAST_KEY else f"more than {_LARGEST_KEY} bytes"
        raise SpecError(file=file, found=found, expected=_EXPECTED)
    return key


def _pixels(content: bytes) -> Pixels:
    """A build's own picture, (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
