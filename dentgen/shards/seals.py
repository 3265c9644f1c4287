"""The seals of versions: which versions a build has, in brief, without reading their indexes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dentgen import storage
from dentgen.documents.index import DatasetIndex, SealRecord
from dentgen.errors import BuildError, StorageError
from dentgen.shards import layout
from dentgen.shards.tar import json_bytes

if TYPE_CHECKING:  # plans are tables of pyarrow, which a list of versions does without
    from dentgen.shards.plan import Plan


def version_numbers(out: str) -> list[int]:
    """Numbers of the versions that were begun, the newest first; other names in their folder are not of a build."""
    names = storage.list_names(storage.join(out, layout.VERSIONS))
    return sorted((int(name) for name in names if name.isascii() and name.isdecimal()), reverse=True)


def read_seal(out: str, version: int) -> SealRecord | None:
    """A version in brief, None if it was not sealed or its seal cannot be read."""
    content = storage.read_if_exists(storage.join(out, layout.versioned(version, layout.SEAL)))
    try:
        return None if content is None else SealRecord.model_validate_json(content)
    except ValueError:
        return None


def newest_sealed(out: str) -> int | None:
    """Number of the newest version that was sealed, None without one.

    Builds that were sealed before versions had seals have an index at their top.
    """
    for version in version_numbers(out):
        if storage.exists(storage.join(out, layout.versioned(version, layout.SEAL))):
            return version
    return 0 if storage.exists(storage.join(out, layout.INDEX)) else None


def is_current(out: str, version: int) -> bool:
    """Whether a version was sealed to the end: what stands at the top of the build is its index."""
    seal = read_seal(out, version)
    if seal is None or not storage.exists(storage.join(out, layout.SUCCESS)):
        return False
    try:
        return storage.sha256_of(storage.join(out, layout.INDEX)) == seal.index_sha256
    except StorageError:
        return False


def write_seal(out: str, plan: Plan, index: DatasetIndex, tick: str = "") -> None:
    """Write the seal of a version, whose other files stand already; one that says the same is left alone."""
    seal = SealRecord(
        version=index.version,
        segment=plan.segment,
        units=len(plan.units),
        planned=index.planned,
        written=index.written,
        rejected=index.rejected,
        shards=len(index.shards),
        bytes=sum(shard.bytes for shard in index.shards),
        retired=len(plan.retires[-1]),
        plan_sha256=index.plan_sha256,
        index_sha256=_digest(out, index.version, layout.INDEX),
        ledger_sha256=_digest(out, index.version, layout.LEDGER_COPY),
        sealed=time.time(),
        tick=tick,
    )
    standing = read_seal(out, index.version)
    own = {"sealed": seal.sealed, "tick": seal.tick}
    if standing is None or standing.model_copy(update=own) != seal:
        kept = {} if standing is None else {"sealed": standing.sealed, "tick": standing.tick}
        content = json_bytes(seal.model_copy(update=kept).model_dump(mode="json"))
        storage.overwrite(storage.join(out, layout.versioned(index.version, layout.SEAL)), content)


def list_versions(out: str) -> Iterator[SealRecord]:
    """Every sealed version of a build, the first one first.

    Raises:
        BuildError: If none was sealed.
    """
    found = [seal for version in reversed(version_numbers(out)) if (seal := read_seal(out, version)) is not None]
    if not found:
        raise BuildError(
            file=storage.without_secrets(out), found="no sealed version", expected="a finished build",
            advice="'dentgen generate' finishes an interrupted one",
        )  # fmt: skip
    yield from found


def _digest(out: str, version: int, name: str) -> str:
    return storage.sha256_of(storage.join(out, layout.versioned(version, name)))
