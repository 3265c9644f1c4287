"""Verification of a sealed build's index, and of the version's copy, against plan and ledger."""

from __future__ import annotations

from collections.abc import Iterator

from dentgen import storage
from dentgen.documents.index import DatasetIndex
from dentgen.errors import StorageError
from dentgen.shards.index_reader import read_index
from dentgen.shards.problem import Problem
from dentgen.shards.tar import json_bytes


def index_problems(out: str, name: str, expected: DatasetIndex) -> Iterator[Problem]:
    """Compare one index with what plan and ledger give."""
    try:
        found = storage.read_if_exists(storage.join(out, name))
    except StorageError as error:
        yield Problem(name, str(error))
        return
    if found is None:
        yield Problem(name, "missing, expected an index of the ledger's shards", derived=name)
    elif found != json_bytes(expected.model_dump(mode="json")):
        yield Problem(name, _difference(out, name, expected), derived=name)


def _difference(out: str, name: str, expected: DatasetIndex) -> str:
    try:
        index = read_index(out, name)
    except StorageError as error:
        return str(error)
    listed, wanted = ({shard.name: shard for shard in one.shards} for one in (index, expected))
    shards = sorted(shard for shard in listed.keys() | wanted.keys() if listed.get(shard) != wanted.get(shard))
    if shards:
        return f"disagrees with the ledger on the shards {shards[:5]}"
    fields = [field for field in DatasetIndex.model_fields if getattr(index, field) != getattr(expected, field)]
    values = [f"{field} {getattr(index, field)!r}, expected {getattr(expected, field)!r}" for field in fields]
    return f"found {'; '.join(values[:3])}, as plan and ledger say" if "shards" not in fields else "found other shards"
