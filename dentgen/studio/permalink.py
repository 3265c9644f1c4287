"""Whole documents under the hash of their content: what a permanent link names."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dentgen.conditions.images import label_values, read_image
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.errors import SpecError, StorageError, faults_of
from dentgen.shards.tar import json_bytes, png_bytes
from dentgen.spec.build import BuildSpec
from dentgen.storage import put_if_absent
from dentgen.studio.openers import opened
from dentgen.studio.planes import Rectangle
from dentgen.studio.saving import record_tar
from dentgen.studio.settings import Prompt, Settings
from dentgen.studio.work import MAX_LAYERS, Snapshot, Work

STATES: Final = "states"
_ID: Final = re.compile(r"[0-9a-f]{16}")
_MAX_BYTES: Final = 2**20
_Share = Annotated[float, Field(ge=0, le=1)]


class StoredLayer(BaseModel):
    """A layer of a stored document; its mask is a file of its own."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=80)]
    prompt: Prompt
    negative_prompt: Prompt = ""
    strength: _Share = 1.0
    prompt_strength: _Share = 1.0
    blur: Annotated[float, Field(ge=0, le=256)] = 0.0
    visible: bool = True


class StoredState(BaseModel):
    """``ID/state.json``: what is not in the condition record beside it."""

    model_config = ConfigDict(extra="forbid")

    settings: Settings
    layers: Annotated[list[StoredLayer], Field(max_length=MAX_LAYERS)] = []


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
    files = _files(snapshot)
    name = _name(files)
    place = folder.absolute() / STATES / name
    for file, content in files.items():
        put_if_absent(str(place / file), content)
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
    stored = _state(place, files["state.json"])
    (raw,) = read_records(list_shards(str(place / "record.tar"), log=False)[0])
    record = opened(raw, spec)
    masks = [_mask(place, number, files, record.shape) for number in range(len(stored.layers))]
    work.open(record, stored.settings)
    for each, mask in zip(stored.layers, masks, strict=True):
        layer = work.add_layer(each.name, each.prompt)
        work.change_layer(layer.number, **each.model_dump(exclude={"name", "prompt"}))
        work.change("restore", {layer.plane: (Rectangle.whole(mask), mask)})


def _files(snapshot: Snapshot) -> dict[str, bytes]:
    layers = [
        StoredLayer(
            name=layer.name, prompt=layer.prompt, negative_prompt=layer.negative_prompt, strength=layer.strength,
            prompt_strength=layer.prompt_strength, blur=layer.blur, visible=layer.visible,
        )
        for layer in snapshot.layers
    ]  # fmt: skip
    state = StoredState(settings=snapshot.settings, layers=layers)
    files = {"record.tar": record_tar(snapshot.record), "state.json": json_bytes(state.model_dump(mode="json"))}
    for number, layer in enumerate(snapshot.layers):
        files[_mask_file(number)] = png_bytes(snapshot.masks[layer.number])
    return files


def _mask_file(number: int) -> str:
    return f"layer-{number}.png"


def _name(files: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}:{len(content)}:".encode() + content)
    return digest.hexdigest()[:16]


def _read(place: Path) -> dict[str, bytes]:
    names = ["record.tar", "state.json", *map(_mask_file, range(MAX_LAYERS))]
    try:
        return {name: (place / name).read_bytes() for name in names if (place / name).is_file()}
    except OSError as error:
        raise StorageError(str(error), file=str(place)) from error


def _state(place: Path, content: bytes) -> StoredState:
    if len(content) > _MAX_BYTES:
        raise SpecError(file=str(place), found=f"{len(content)} bytes", expected=f"at most {_MAX_BYTES}")
    try:
        return StoredState.model_validate_json(content)
    except ValidationError as error:
        raise SpecError(file=str(place), key="state.json", found=faults_of(error), expected="a stored state") from error


def _mask(place: Path, number: int, files: dict[str, bytes], shape: tuple[int, int]) -> np.ndarray:
    name = _mask_file(number)
    image = read_image(str(place / name), files.get(name, b""), ("PNG",), shape[0] * shape[1])
    mask, unknown = label_values(image, {0, 1})
    if unknown or mask.shape != shape:
        raise SpecError(
            file=str(place / name), found=f"{mask.shape}, values {unknown[:5]}", expected=f"{shape} of 0, 1"
        )
    return mask
