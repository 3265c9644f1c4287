"""sha256 of files, each hashed once, as long as its identity on the disk does not change.

Weights have gigabytes, and planning and every actor need their digest. Digests of large files are kept in
``$DENTGEN_CACHE/digests.json``, by default ``~/.cache/dentgen/digests.json``.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Final

#: Smaller files are hashed faster than looked up.
LARGE: Final = 64 * 2**20
#: A file that changed just now may change again within the resolution of its times.
_SETTLED_NS: Final = 2 * 10**9
_MAX_BYTES: Final = 4 * 2**20
_known: dict[str, tuple[list[int], str]] = {}


def file_sha256(file: Path) -> str:
    """sha256 of a file, read in constant memory; a large one that has not changed since is not read again."""
    if file.stat().st_size < LARGE:
        return _hashed(file)
    name, identity = str(file.resolve()), _identity(file)
    settled = time.time_ns() - max(identity[1:3]) > _SETTLED_NS
    found = _known.get(name) or _read_cache().get(name)
    if settled and found is not None and found[0] == identity:
        _known[name] = found
        return found[1]
    digest = _hashed(file)
    if settled and _identity(file) == identity:  # otherwise it changed meanwhile
        _known[name] = (identity, digest)
        _write_cache(name)
    return digest


def cache_folder() -> Path:
    """``$DENTGEN_CACHE``, by default ``~/.cache/dentgen``."""
    return Path(os.environ.get("DENTGEN_CACHE") or Path.home() / ".cache" / "dentgen")


def _identity(file: Path) -> list[int]:
    """What changes with every change of a file: size, times and inode."""
    state = file.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


def _hashed(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _read_cache() -> dict[str, tuple[list[int], str]]:
    """Digests of other processes; none if the cache is missing or damaged."""
    try:
        file = cache_folder() / "digests.json"
        entries = json.loads(file.read_text(encoding="utf-8")) if file.stat().st_size < _MAX_BYTES else {}
        return {
            name: (list(identity), str(digest)) for name, (identity, digest) in entries.items() if len(digest) == 64
        }
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, RuntimeError):
        return {}


def _write_cache(name: str) -> None:
    """Add a digest by an atomic replacement; a cache that cannot be written costs time, and nothing else."""
    entries = {known: entry for known, entry in _read_cache().items() if Path(known).exists()}
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=cache_folder(), prefix=".digests.", delete=False) as written:
            json.dump({**entries, name: _known[name]}, written)
        Path(written.name).replace(cache_folder() / "digests.json")
    except (OSError, RuntimeError):
        return
