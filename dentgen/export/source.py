"""Samples to export, shard by shard: those of a finished build, or of condition records with a picture."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dentgen import storage
from dentgen.conditions.decode import decode_record
from dentgen.conditions.labels import IGNORE
from dentgen.conditions.metadata import read_metadata
from dentgen.conditions.readers.raw import ConditionShard, RawRecord
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.documents.index import ShardEntry
from dentgen.errors import ConditionError, SpecError
from dentgen.records import CONDITION_MEMBER, FDI_MEMBER, FINDING_MEMBER, IMAGE_FORMATS, ImageFormat
from dentgen.shards import layout
from dentgen.shards.index_reader import read_index
from dentgen.shards.reader import Members, read_shard, tar_samples
from dentgen.shards.selection_file import selection_of
from dentgen.shards.tar import png_bytes

_LabelMap = NDArray[np.uint8]
#: Split of samples that have none.
NO_SPLIT: Final = "train"
_USUAL_SPLITS: Final = {"": NO_SPLIT, "train": "train", "training": "train", "val": "validation", "valid": "validation",
                        "dev": "validation", "validation": "validation", "test": "test", "testing": "test"}  # fmt: skip
#: What of ``KEY.json`` says where a generated picture comes from and what binds its users.
ORIGIN: Final = (
    "digital_source_type", "source_key", "spec_digest", "bundle_digest", "source_license", "bundle_licenses",
    "use_restrictions",
)  # fmt: skip
_SPLIT: Final = re.compile(r"[A-Za-z0-9_]{1,40}")


@dataclass(frozen=True, slots=True, eq=False)
class ExportSample:
    """One picture with its labels.

    Attributes:
        key: Its key, unique in the source.
        group: Patient or jaw.
        split: Name of its split: train, validation, test, or another name of letters, digits and underscores.
        prompt: What it shows.
        picture: The encoded picture, without any metadata of a camera.
        extension: File extension of the picture: png, jpg or webp.
        seg: (H, W) uint8 classes, ``IGNORE`` where they are unknown.
        fdi: (H, W) uint8 FDI numbers, 0 for none.
        lesion: (H, W) uint8 values of ``lesion_map.LESIONS``; None if the source has none.
        attributes: View, light and so on.
        license: Licence of the source, "" if unknown.
        synthetic: Whether the picture was generated.
        finding: (H, W) labels of findings that were asked for; None if none were.
        asked: Those findings, as the sample's metadata have them.
        origin: How a build made the picture, as far as its metadata say, by the names of ``ORIGIN``.
    """

    key: str
    group: str
    split: str
    prompt: str
    picture: bytes
    extension: ImageFormat
    seg: _LabelMap
    fdi: _LabelMap
    lesion: _LabelMap | None
    attributes: dict[str, str] = field(default_factory=dict)
    license: str = ""
    synthetic: bool = True
    origin: dict[str, Any] = field(default_factory=dict)
    finding: _LabelMap | None = None
    asked: tuple[dict[str, Any], ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.seg.shape[0], self.seg.shape[1]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that cannot be exported: its key and the reason, with the file, what was found and what was expected."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class ExportUnit:
    """What one process exports at a time: a shard, or the samples of it that were chosen; ``keys`` None takes all."""

    name: str
    shard: ShardEntry | ConditionShard
    keys: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class ExportSource:
    """All that is exported.

    Attributes:
        place: Folder or URL.
        digest: Changes with the content.
        units: Its shards, in order.
        rejected: Samples that the build itself rejected.
    """

    place: str
    digest: str
    units: tuple[ExportUnit, ...]
    rejected: int = 0


def open_source(place: str, selection: str | None = None) -> ExportSource:
    """Find the shards of a finished build, or of condition records.

    Args:
        place: Folder or URL.
        selection: File that ``dentgen select`` wrote of the build: only its samples, and their shards; None for all.

    Raises:
        ConditionError: If there is neither.
        SpecError: If the selection is of another index, or the place is no build.
        StorageError: If the place or the selection cannot be read.
    """
    if selection is not None:
        return _chosen(place, selection)
    rejected = 0
    if storage.exists(storage.join(place, layout.INDEX)):
        index = read_index(place)
        shards, rejected = index.shards, index.rejected
        state = [(shard.name, shard.sha256) for shard in shards]
        units = [ExportUnit(shard.name.removesuffix(".tar"), shard) for shard in shards]
    else:
        found = list_shards(place)
        state = [(shard.name, f"{shard.size} {shard.tag}") for shard in found]
        units = [ExportUnit(f"{number:06d}", shard) for number, shard in enumerate(found)]
    return ExportSource(place, hashlib.sha256(json.dumps(state).encode()).hexdigest(), tuple(units), rejected)


def _chosen(place: str, file: str) -> ExportSource:
    """The samples of a selection."""
    if not storage.exists(storage.join(place, layout.INDEX)):
        found = f"{storage.without_secrets(place)}, which is no finished build"
        raise SpecError(file=storage.without_secrets(file), key="selection", found=found, expected="the build it is of")
    index = read_index(place)
    selection = selection_of(file, place, index)
    keys = selection.by_shard
    units = [
        ExportUnit(shard.name.removesuffix(".tar"), shard, keys[shard.name])
        for shard in index.shards
        if shard.name in keys
    ]
    state = [selection.index_sha256, *sorted(selection.keys)]
    return ExportSource(place, hashlib.sha256(json.dumps(state).encode()).hexdigest(), tuple(units))


def read_unit(place: str, unit: ExportUnit) -> Iterator[ExportSample | Rejection]:
    """Read the samples of one shard; a damaged record is a ``Rejection``, and the rest goes on.

    Raises:
        BuildError: If a build's shard is damaged.
        ConditionError: If condition records cannot be told apart any more.
        StorageError: If the shard cannot be read.
    """
    if isinstance(unit.shard, ShardEntry):
        for key, members in tar_samples(read_shard(place, unit.shard)):
            if unit.keys is not None and key not in unit.keys:
                continue
            yield _with_split(_generated(key, members))
        return
    for raw in read_records(unit.shard):
        try:
            yield _with_split(_recorded(raw))
        except ConditionError as error:
            yield Rejection(raw.key, str(error))


def _with_split(sample: ExportSample) -> ExportSample | Rejection:
    """The sample under the usual name of its split, which becomes a folder's name."""
    split = _USUAL_SPLITS.get(sample.split.lower(), sample.split)
    if not _SPLIT.fullmatch(split):
        return Rejection(sample.key, f"found the split {split[:80]!r}, expected letters, digits and _, at most 40")
    return replace(sample, split=split)


def _generated(key: str, members: Members) -> ExportSample:
    extension = next(name for name in IMAGE_FORMATS if name in members)
    metadata = json.loads(members["json"])
    lesion = members.get(f"{CONDITION_MEMBER['findings']}.png")
    finding = members.get(f"{FINDING_MEMBER}.png")
    return ExportSample(
        key=key,
        group=metadata["group"],
        split=metadata["split"],
        prompt=metadata["prompt"],
        picture=members[extension],
        extension=extension,
        seg=_pixels(members["seg.png"]),
        fdi=_pixels(members[f"{FDI_MEMBER}.png"]),
        lesion=None if lesion is None else _pixels(lesion),
        attributes=dict(metadata["attributes"]),
        license=metadata["source_license"],
        synthetic=metadata["synthetic"],
        origin={name: metadata[name] for name in ORIGIN if metadata.get(name)},
        finding=None if finding is None else _pixels(finding),
        asked=tuple(metadata.get("findings", ())),
    )


def _recorded(raw: RawRecord) -> ExportSample:
    """A condition record with its photo, which is resized to its maps and encoded again: EXIF stays behind."""
    known = read_metadata(raw.place, raw.members.get("json"))  # checks what is parsed below
    record = decode_record(raw, (), with_photo=True, metadata=known)
    metadata: dict[str, Any] = json.loads(raw.members.get("json", b"{}"))
    labels = [*record.conditions.values(), *([] if record.fdi is None else [record.fdi])]
    if record.photo is None or not labels:
        raise ConditionError(raw.place, f"members {sorted(raw.members)[:20]}", "a photo and at least one map")
    height, width = labels[0].shape[:2]
    return ExportSample(
        key=record.key,
        group=record.group,
        split=record.split,
        prompt=record.prompt,
        picture=png_bytes(_resized(record.photo, height, width)),
        extension="png",
        seg=record.conditions.get("segmentation", np.full((height, width), IGNORE)).astype(np.uint8),
        fdi=record.fdi if record.fdi is not None else np.zeros((height, width), np.uint8),
        lesion=record.conditions["findings"].astype(np.uint8) if "findings" in record.conditions else None,
        attributes=record.attributes,
        license=record.license,
        synthetic=metadata.get("synthetic") is True,
    )


def _resized(photo: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    if photo.shape[:2] == (height, width):
        return photo
    return np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.BOX))


def _pixels(content: bytes) -> _LabelMap:
    return np.asarray(Image.open(io.BytesIO(content)), np.uint8)
