"""Listing, indexing and reading of a source: WebDataset tars, Parquet files, loose files, or a finished build."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from typing import Final, Literal

from dentgen import storage
from dentgen.conditions.readers.build import build_shards, index_build, read_build
from dentgen.conditions.readers.folder import index_folder, is_map, loose_files, read_folder
from dentgen.conditions.readers.parquet import index_parquet, read_parquet
from dentgen.conditions.readers.raw import (
    EVERYTHING,
    ConditionShard,
    RawRecord,
    RecordRange,
    ShardIndex,
    ShardKind,
    is_leftover,
    printable,
)
from dentgen.conditions.readers.tar import index_tar, read_tar
from dentgen.errors import ConditionError, RefusedFileError, StorageError
from dentgen.shards import layout
from dentgen.storage import StoredFile

_LOG = logging.getLogger(__name__)

SourceFormat = Literal["auto", "webdataset", "parquet", "folder", "build"]

_KINDS: Final[tuple[tuple[str, ShardKind, SourceFormat], ...]] = (
    (".tar", "tar", "webdataset"),
    # compressed tars cannot be indexed; listing them reports them as damaged instead of ignoring them
    *((suffix, "tar", "webdataset") for suffix in (".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2")),
    (".parquet", "parquet", "parquet"),
)


def list_shards(source: str, source_format: SourceFormat = "auto", *, log: bool = True) -> list[ConditionShard]:
    """List the condition shards of a source.

    Builds inside the source are passed over, because they may have been made from it. A source may itself be a finished
    build: of that, the shards that its index names are listed.

    Args:
        source: Path or URL of a folder or of one shard.
        source_format: Format to look for; ``auto`` takes a finished build, shards or loose files, whichever is there.
        log: Name what is passed over in the log.

    Returns:
        Shards sorted by name, whatever order the storage lists them in.

    Raises:
        ConditionError: If no shard and no loose record is found, or, with ``auto``, both; if a build lacks a shard, or,
            with ``build``, is not finished.
        StorageError: If the source cannot be listed.
    """
    listed, builds = _without_builds(source, storage.list_files(source))
    if source_format == "build" or (source_format == "auto" and _is_finished_build(source, listed)):
        return _of_build(source, listed)
    for build in builds if log else ():
        _LOG.warning(
            "%s: passing over the build in %s", storage.without_secrets(source), storage.without_secrets(build)
        )
    is_file = len(listed) == 1 and storage.name_of(source) == storage.name_of(listed[0].url)
    files = [file for file in listed if is_file or not is_leftover(storage.relative_name(source, file.url))]
    shards = [
        ConditionShard(_shard_name(source, file), file.url, kind, file.size, file.tag)
        for suffix, kind, wanted in _KINDS
        for file in files
        if source_format in {"auto", wanted} and storage.without_secrets(file.url).lower().endswith(suffix)
    ]
    loose = loose_files(files, source)
    if shards and source_format == "auto":
        _require_one_form(source, shards, loose)
    if not shards and loose and source_format in {"auto", "folder"}:
        tag = _common_tag(source, loose)
        shards = [ConditionShard(".", source, "folder", sum(file.size for file in loose), tag, tuple(loose))]
    if not shards:
        hidden = f" ({len(listed) - len(files)} of them hidden or left behind by editors)" if files != listed else ""
        raise ConditionError(
            storage.without_secrets(source),
            f"{len(listed)} files{hidden}, none of them a condition shard of format {source_format!r}"
            + (f", besides {len(builds)} builds, first {builds[0]}" if builds else ""),
            "*.tar or *.parquet shards, or files named KEY.seg.png, KEY.light.png, ...",
        )
    others = len(listed) - (len(loose) if shards[0].kind == "folder" else len(shards))
    if others and log:
        _LOG.info("%s: ignoring %d files that are not condition shards", storage.without_secrets(source), others)
    return sorted(shards, key=lambda shard: shard.name)


def _is_finished_build(source: str, files: Sequence[StoredFile]) -> bool:
    """Whether the files of a source are those of a build that was sealed."""
    marks = {layout.INDEX, layout.plan_head(), layout.plan_units()}
    return marks <= {storage.relative_name(source, file.url) for file in files}


def _of_build(source: str, listed: Sequence[StoredFile]) -> list[ConditionShard]:
    """The shards of a finished build, in the order of its index."""
    if not _is_finished_build(source, listed):
        raise ConditionError(storage.without_secrets(source), f"no {layout.INDEX} of a build", "a finished build")
    files = {storage.relative_name(source, file.url): file for file in listed}
    shards = build_shards(storage.join(source, layout.INDEX), layout.SHARDS, files)
    if not shards:
        raise ConditionError(storage.without_secrets(source), "a build without samples", "at least one shard")
    return shards


def _common_tag(folder: str, files: list[storage.StoredFile]) -> str:
    """A tag of many files, which changes with every name, size and tag."""
    lines = sorted(f"{storage.relative_name(folder, file.url)} {file.size} {file.tag}" for file in files)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _without_builds(source: str, files: list[StoredFile]) -> tuple[list[StoredFile], list[str]]:
    """The files of a listing that are in no build strictly inside the source, and those builds."""
    builds = [
        build
        for build in layout.builds_among(file.url for file in files)
        if "/" in storage.relative_name(source, storage.join(build, layout.LEASE))
    ]
    inside = tuple(f"{build}/" for build in builds)
    return [file for file in files if not file.url.startswith(inside)] if inside else files, builds


def _shard_name(source: str, file: StoredFile) -> str:
    """Name of a shard, unique and on one line: a line break and a backslash before an "n" are two names."""
    return printable(storage.relative_name(source, file.url).replace("\\", "\\\\"))


def _require_one_form(source: str, shards: Sequence[ConditionShard], loose: Sequence[storage.StoredFile]) -> None:
    """Refuse maps beside shards: whichever of the two is read, the other would be lost silently."""
    maps = sorted(printable(storage.relative_name(source, file.url)) for file in loose if is_map(file))
    if maps:
        found = f"{len(shards)} shards ({shards[0].name}, ...) beside {len(maps)} loose maps ({maps[0]}, ...)"
        expected = "either; set source.format to the one to read, or move the other away"
        raise ConditionError(storage.without_secrets(source), found, expected)


def index_shard(shard: ConditionShard, *, with_metadata: bool) -> ShardIndex:
    """Index the records of a shard.

    Args:
        shard: The shard.
        with_metadata: Also read the records' splits and attributes.

    Returns:
        The index; for a damaged shard, or one to which access is denied, with ``problem`` set instead of an exception.

    Raises:
        StorageError: If the storage fails, which may be temporary and so does not count as damage.
        ConditionError: If a finished build's shard is not the one that its index names.
    """
    try:
        match shard.kind:
            case "tar":
                return index_tar(shard, with_metadata=with_metadata)
            case "parquet":
                return index_parquet(shard, with_metadata=with_metadata)
            case "folder":
                return index_folder(shard, with_metadata=with_metadata)
            case "build":
                return index_build(shard, with_metadata=with_metadata)
    except OSError as error:
        raise StorageError(f"cannot be read: {error}", file=shard.place) from error
    except RefusedFileError as error:
        return ShardIndex.of((), () if with_metadata else None, problem=str(error))


def read_records(shard: ConditionShard, wanted: RecordRange = EVERYTHING) -> Iterator[RawRecord]:
    """Read the records of a shard in order.

    Args:
        shard: The shard.
        wanted: Which records; all by default.

    Raises:
        ConditionError: If the shard is damaged before the end of the range.
        StorageError: If the storage fails.
    """
    readers = {"tar": read_tar, "parquet": read_parquet, "folder": read_folder, "build": read_build}
    try:
        yield from readers[shard.kind](shard, wanted)
    except OSError as error:
        raise StorageError(f"cannot be read: {error}", file=shard.place) from error
