"""Ticks of a schedule: one that was completed is not run a second time."""

from __future__ import annotations

from typing import Final

from dentgen import storage
from dentgen.documents.index import TickRecord
from dentgen.errors import SpecError, StorageError, faults_of
from dentgen.shards import layout
from dentgen.shards.seals import is_current, newest_sealed, read_seal
from dentgen.shards.tar import json_bytes

_MAX_KEY: Final = 1000


def require_key(key: str) -> None:
    """Check the key of a tick, which may be any text that is not empty and not absurdly long.

    Raises:
        SpecError: If it is.
    """
    if not key.strip() or len(key) > _MAX_KEY:
        found = f"{len(key)} characters" if key.strip() else "nothing"
        raise SpecError(key="--tick", found=found, expected=f"1 to {_MAX_KEY} characters, such as 2026-11-29T08:00")


def completed_version(out: str, key: str) -> int | None:
    """The version that stood when a tick was completed, None if it was not.

    A tick that was killed between its seal and its record was completed: the seal names it.

    Raises:
        StorageError: If its record is damaged.
    """
    url = storage.join(out, layout.tick(key))
    content = storage.read_if_exists(url)
    if content is not None:
        try:
            return TickRecord.model_validate_json(content).version
        except ValueError as error:
            raise StorageError(f"not a tick: {faults_of(error)}", file=storage.without_secrets(url)) from error
    newest = newest_sealed(out)
    seal = None if newest is None else read_seal(out, newest)
    if seal is not None and seal.tick == key and is_current(out, seal.version):
        record_tick(out, key, seal.version)
        return seal.version
    return None


def record_tick(out: str, key: str, version: int) -> None:
    """Record that a tick was completed; the first record of a key stays."""
    record = TickRecord(key=key, version=version)
    storage.put_if_absent(storage.join(out, layout.tick(key)), json_bytes(record.model_dump(mode="json")))
