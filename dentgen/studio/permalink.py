"""Whole documents under the hash of their content: what a permanent link names."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.errors import SpecError, StorageError, faults_of
from dentgen.records import MAX_PAINTED
from dentgen.shards.tar import json_bytes
from dentgen.spec.build import BuildSpec
from dentgen.storage import put_if_absent
from dentgen.studio.openers import opened
from dentgen.studio.saving import record_tar
from dentgen.studio.settings import Settings
from dentgen.studio.work import Snapshot, Work

STATES: Final = "states"
_RECORD, _STATE = "record.tar", "state.json"
_ID: Final = re.compile(r"[0-9a-f]{16}")
#: Larger files are no states; records have at most a few megabytes.
_MAX_BYTES: Final = 256 * 2**20


class StoredState(BaseModel):
    """``ID/state.json``: what is not in the condition record beside it."""

    model_config = ConfigDict(extra="forbid")

    settings: Settings
    visible: Annotated[tuple[bool, ...], Field(max_length=MAX_PAINTED)] = ()


def store(folder: Path, snapshot: Snapshot) -> str:
    """Store a document; the same one is stored once.

    Args:
        folder: The studio's folder.
        snapshot: The document.

    Returns:
        Its name: 16 hexadecimal digits of the sha256 of its files.

    Raises:
        StorageError: If it cannot be written.
    """
    state = StoredState(settings=snapshot.settings, visible=tuple(layer.visible for layer in snapshot.layers))
    record = record_tar(replace(snapshot.record, painted=snapshot.regions))
    files = {_RECORD: record, _STATE: json_bytes(state.model_dump(mode="json"))}
    name = _name(files)
    for file, content in files.items():
        put_if_absent(str(folder.absolute() / STATES / name / file), content)
    return name


def restore(folder: Path, name: str, work: Work, spec: BuildSpec) -> None:
    """Open a stored document.

    Args:
        folder: The studio's folder.
        name: What ``store`` returned.
        work: Takes it.
        spec: The studio's spec.

    Raises:
        SpecError: If there is none of this name, or its files are not those that were stored.
        ConditionError: If its record does not fit the spec.
    """
    if not _ID.fullmatch(name):
        raise SpecError(key="state", found=name, expected="16 hexadecimal digits")
    place = folder.absolute() / STATES / name
    files = _read(place)
    if _name(files) != name:
        raise SpecError(file=str(place), key="state", found="files that were changed", expected=f"sha256 {name}...")
    stored = _state(place, files[_STATE])
    (raw,) = read_records(list_shards(str(place / _RECORD), log=False)[0])
    work.open(opened(raw, spec), stored.settings)
    for layer, visible in zip(work.layers, stored.visible, strict=False):
        if not visible:
            work.change_layer(layer.number, visible=False)


def _name(files: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}:{len(content)}:".encode() + content)
    return digest.hexdigest()[:16]


def _read(place: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for name in (_RECORD, _STATE):
        path = place / name
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise SpecError(file=str(path), found=f"{path.stat().st_size} bytes", expected=f"at most {_MAX_BYTES}")
            files[name] = path.read_bytes()
        except FileNotFoundError as error:
            raise SpecError(file=str(path), key="state", found="no file", expected="a stored document") from error
        except OSError as error:
            raise StorageError(str(error), file=str(path)) from error
    return files


def _state(place: Path, content: bytes) -> StoredState:
    try:
        return StoredState.model_validate_json(content)
    except ValidationError as error:
        raise SpecError(file=str(place), key=_STATE, found=faults_of(error), expected="a stored state") from error
