"""Saved documents: a condition shard, the build spec and the pictures, in a folder that a build reads.

A build of the saved spec makes the saved pictures, byte for byte.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from dentgen.conditions.painted import painted_bits, painted_entries
from dentgen.errors import SpecError, StorageError
from dentgen.records import CONDITION_MEMBER, FDI_MEMBER, PAINTED_MEMBER, ConditionRecord
from dentgen.shards.tar import image_bytes, json_bytes, png_bytes, tar_bytes
from dentgen.spec.build import BuildSpec
from dentgen.studio.pictures import Variants

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]+")
#: Folders of one name.
_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Saved:
    """What was saved: folder, spec file, command that builds it, and its pictures."""

    folder: Path
    spec: Path
    command: str
    pictures: tuple[str, ...]


def save(folder: Path, name: str, made: Variants) -> Saved:
    """Save a document with its pictures in a new folder.

    Args:
        folder: The studio's folder.
        name: Name of the new folder in it, "" for the record's key; a number is added if it exists.
        made: Document, spec and pictures.

    Raises:
        SpecError: If the name is not a plain one.
        StorageError: If the folder cannot be written.
    """
    place = new_folder(folder, name, made.snapshot.record)
    spec = located(made.spec, place)
    write_record(place / "conditions", made.snapshot.record)
    for key, picture in made.pictures.items():
        content = image_bytes(picture, spec.output.image_format, spec.sampling.source_type)
        _write(place / "pictures" / f"{_plain(key)}.{spec.output.image_format}", content)
    file = write_spec(place, spec)
    return Saved(place, file, f"dentgen generate {shlex.quote(str(file))}", tuple(made.pictures))


def write_record(folder: Path, record: ConditionRecord) -> None:
    """Write a record as the only one of a folder of condition shards.

    Raises:
        StorageError: If it cannot be written.
    """
    _write(folder / "record.tar", record_tar(record))


def write_spec(place: Path, spec: BuildSpec) -> Path:
    """Write a spec into a folder of the studio; returns the file.

    Raises:
        StorageError: If it cannot be written.
    """
    file = place / "spec.yaml"
    _write(file, spec_text(spec).encode())
    return file


def _write(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
    except OSError as error:
        raise StorageError(str(error), file=str(file)) from error


def located(spec: BuildSpec, place: Path) -> BuildSpec:
    """The spec with source and output in a folder."""
    source = spec.source.model_copy(
        update={"path": str(place / "conditions"), "format": "auto", "split": None, "oversample": {}, "limit": None}
    )
    return spec.model_copy(
        update={"source": source, "output": spec.output.model_copy(update={"path": str(place / "dataset")})}
    )


def spec_text(spec: BuildSpec) -> str:
    """A build spec as YAML: what differs from the defaults, and what the studio sets."""
    values: dict[str, Any] = spec.model_dump(mode="json", exclude_defaults=True)
    whole = spec.model_dump(mode="json")
    values.setdefault("model", {})["adapters"] = whole["model"]["adapters"]
    values.setdefault("conditions", {})["size"] = whole["conditions"]["size"]
    for key in ("scheduler", "steps", "guidance_scale", "variants", "seed"):
        values.setdefault("sampling", {})[key] = whole["sampling"][key]
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)


def record_tar(record: ConditionRecord) -> bytes:
    """A condition shard of one record, re-encoded: pixels and known metadata alone."""
    members = {f"{CONDITION_MEMBER[name]}.png": png_bytes(array) for name, array in record.conditions.items()}
    if record.fdi is not None:
        members[f"{FDI_MEMBER}.png"] = png_bytes(record.fdi)
    if record.photo is not None:
        members["photo.png"] = png_bytes(record.photo)
    if record.painted:
        members[f"{PAINTED_MEMBER}.png"] = png_bytes(painted_bits(record.painted, record.shape))
    metadata = {
        **record.attributes,
        "group": record.group,
        "split": record.split,
        "prompt": record.prompt,
        "license": record.license,
        "source": f"{record.key}, painted in dentgen studio",
        "painted": [entry.model_dump() for entry in painted_entries(record.painted)],
    }
    return tar_bytes([(record.key, {**members, "json": json_bytes(metadata)})])


def _plain(key: str) -> str:
    """A key as a name of a file or folder."""
    return _NOT_IN_NAMES.sub("-", key).strip("-_")[:70] or "record"


def new_folder(folder: Path, name: str, record: ConditionRecord) -> Path:
    """Make a new folder of the studio.

    Args:
        folder: The studio's folder.
        name: Its name, "" for the record's key; a number is added if it exists.
        record: What will be saved in it.

    Raises:
        SpecError: If the name is not a plain one.
        StorageError: If it cannot be made.
    """
    name = name or _plain(record.key)
    if not _NAME.fullmatch(name):
        raise SpecError(key="name", found=name, expected="letters, digits, - and _, 80 at most")
    for number in range(1, _MOST):
        place = folder.absolute() / (name if number == 1 else f"{name}-{number}")
        try:
            place.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise StorageError(str(error), file=str(place)) from error
        return place
    raise StorageError(file=str(folder), found=f"{_MOST} folders named {name}", expected="another name")
