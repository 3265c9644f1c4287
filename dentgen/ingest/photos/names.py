"""Keys of photographs and patients: their own names, or keyed digests that tell nothing to whoever lacks the key."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path
from typing import Final

from dentgen.conditions.decode import valid_key
from dentgen.errors import SpecError
from dentgen.storage.overlap import is_within

_KEY_BYTES: Final = 32
_LARGEST_KEY: Final = 4096
_UNFIT: Final = re.compile(r"[^A-Za-z0-9/_-]+")


def read_name_key(file: Path, out: str) -> bytes:
    """The secret of keyed digests; a file that is missing is made, for its owner's eyes only.

    Args:
        file: At least 32 bytes that nobody can guess.
        out: Where the records go; whoever gets them must not get the secret with them.

    Raises:
        SpecError: If the file cannot be read or made, lies in ``out``, or is too short or too long.
    """
    if is_within(str(file), out):
        expected = "a file elsewhere, because whoever gets the records must not get the secret"
        raise SpecError(file=str(file), key="--name-key", found="a file inside the output", expected=expected)
    try:
        if not file.exists():
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as made:
                made.write(secrets.token_bytes(_KEY_BYTES))
        size = file.stat().st_size
        if not _KEY_BYTES <= size <= _LARGEST_KEY:
            raise SpecError(
                file=str(file),
                key="--name-key",
                found=f"{size} bytes",
                expected=f"{_KEY_BYTES} to {_LARGEST_KEY} bytes",
            )
        return file.read_bytes()
    except OSError as error:
        raise SpecError(file=str(file), key="--name-key", found=str(error), expected="a file with a secret") from error


def shown_key(name: str, secret: bytes | None) -> str:
    """Key of a photograph or patient.

    Args:
        name: Its own name.
        secret: Key of the digest that replaces the name (HMAC-SHA256, RFC 2104); None keeps the name.
    """
    if secret is not None:
        return f"photo-{hmac.new(secret, name.encode(), hashlib.sha256).hexdigest()[:20]}"
    digest = hashlib.sha256(name.encode()).hexdigest()
    key = name if not _UNFIT.search(name) else f"{_UNFIT.sub('_', name)[:50].strip('/_') or 'photo'}-{digest[:8]}"
    return key if valid_key(key) else f"photo-{digest[:20]}"
