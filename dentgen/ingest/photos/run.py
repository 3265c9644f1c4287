"""Annotated photographs into condition shards: read, mean, draw, write; what cannot be used is named."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import numpy as np
from PIL import Image

from dentgen import storage
from dentgen.conditions.splits import drawn_split
from dentgen.errors import ConditionError, DentgenError
from dentgen.ingest.photos.annotations import AnnotatedPhoto, Refusal
from dentgen.ingest.photos.formats import PhotoFormat, read_annotations
from dentgen.ingest.photos.maps import LIGHTING_METHOD, estimated_lighting, label_maps
from dentgen.ingest.photos.meaning import Meanings
from dentgen.ingest.photos.names import shown_key
from dentgen.ingest.photos.picture import Picture, read_picture
from dentgen.progress import tracked
from dentgen.shards.parameters import claim_parameters
from dentgen.shards.tar import json_bytes, png_bytes, tar_bytes
from dentgen.storage.overlap import require_apart

PARAMETERS: Final = "photos.json"

_Record = tuple[str, dict[str, bytes]]


@dataclass(frozen=True, slots=True)
class PhotoSet:
    """Annotated photographs and what becomes of them.

    Attributes:
        source: Folder or URL.
        out: Folder or URL of the condition shards.
        meanings: What the labels mean.
        format: Annotation format; None tells it by the files.
        license: Licence of the photographs, which travels with every sample.
        name_key: Secret of the digests that replace the names of pictures and patients; None keeps the names.
        edge: Longer edge of the records, pixels; larger photographs are reduced. None keeps them.
        shard_size: Records per shard.
    """

    source: str
    out: str
    meanings: Meanings
    format: PhotoFormat | None = None
    license: str = ""
    name_key: bytes | None = field(default=None, repr=False)
    edge: int | None = None
    shard_size: int = 100


@dataclass(slots=True)
class PhotoOutcome:
    """What became of a set.

    Attributes:
        written: Records.
        refused: What could not be used, with reasons.
        skipped: Annotations without an area, by kind.
        shared_groups: Patients whose pictures the set itself has in several splits.
    """

    written: int = 0
    refused: list[Refusal] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    shared_groups: list[str] = field(default_factory=list)


def write_photos(photos: PhotoSet) -> PhotoOutcome:
    """Write the records of a set; equal arguments and files give equal bytes.

    Raises:
        ConditionError: If the set has no known format.
        SpecError: If ``out`` overlaps with the source or holds a set with other parameters.
        StorageError: If something cannot be read or written.
    """
    require_apart("out", photos.out, "source", photos.source)
    found = read_annotations(photos.source, photos.format)
    storage.require_writable(photos.out)
    claim_parameters(photos.out, PARAMETERS, _parameters(photos))
    outcome = PhotoOutcome()
    records = _records(photos, tracked(found, "photographs", "picture"), outcome)
    shard = 0
    while batch := list(islice(records, photos.shard_size)):
        storage.overwrite(storage.join(photos.out, f"photos-{shard:06d}.tar"), tar_bytes(batch))
        outcome.written += len(batch)
        shard += 1
    return outcome


def labels_of(source: str, photo_format: PhotoFormat | None = None) -> tuple[Counter[str], list[Refusal]]:
    """How often every label of a set occurs, and what could not be read.

    Raises:
        ConditionError: If the set has no known format.
    """
    labels, refused = Counter[str](), list[Refusal]()
    for photo in read_annotations(source, photo_format):
        if isinstance(photo, Refusal):
            refused.append(photo)
        else:
            labels.update(thing.label for thing in photo.things)
    return labels, refused


def _parameters(photos: PhotoSet) -> dict[str, Any]:
    names = "keep" if photos.name_key is None else hashlib.sha256(photos.name_key).hexdigest()
    return {
        "meanings": photos.meanings.model_dump(), "format": photos.format or "auto", "license": photos.license,
        "names": names, "edge": photos.edge or 0, "shard_size": photos.shard_size, "light": LIGHTING_METHOD,
        "source_digest": _digest_of(photos.source),
    }  # fmt: skip


def _digest_of(source: str) -> str:
    """Changes with the files of a set: other files would leave shards of the old ones beside the new."""
    files = sorted((storage.relative_name(source, file.url), file.size) for file in storage.list_files(source))
    return hashlib.sha256(repr(files).encode()).hexdigest()


def _records(photos: PhotoSet, found: Iterable[AnnotatedPhoto | Refusal], outcome: PhotoOutcome) -> Iterator[_Record]:
    """Records of all photographs that can be used; the others are noted."""
    keys, splits, images = set[str](), dict[str, str](), set[str]()
    for photo in found:
        if isinstance(photo, Refusal):
            outcome.refused.append(photo)
            continue
        if photo.image in images:
            used = ConditionError(photo.name, "a picture that another annotation has", "an annotation a picture")
            outcome.refused.append(Refusal(photo.name, used))
            continue
        images.add(photo.image)
        outcome.skipped.update(photo.skipped)
        try:
            key, members = _record(photos, photo, splits, outcome)
        except DentgenError as error:
            outcome.refused.append(Refusal(photo.name, error))
            continue
        if key.casefold() in keys:
            twin = ConditionError(photo.name, f"the key {key}, which another photograph has", "names that differ")
            outcome.refused.append(Refusal(photo.name, twin))
            continue
        keys.add(key.casefold())
        yield key, members


def _record(photos: PhotoSet, photo: AnnotatedPhoto, splits: dict[str, str], outcome: PhotoOutcome) -> _Record:
    picture = read_picture(photo.image)
    maps = label_maps(photo, picture, photos.meanings)
    light = estimated_lighting(picture.pixels, maps.seg)
    images = {"seg": maps.seg, "fdi": maps.fdi, "lesion": maps.lesion, "light": light}
    members = {
        f"{name}.png": png_bytes(_fitted(image, photos.edge)) for name, image in images.items() if image is not None
    }
    members["photo.png"] = png_bytes(_reduced(picture, photos.edge))
    group = photos.meanings.group_of(photo.name)
    split = photo.split or splits.get(group) or drawn_split(group)
    if splits.setdefault(group, split) != split and group not in outcome.shared_groups:
        outcome.shared_groups.append(group)
    metadata = {
        "group": shown_key(group, photos.name_key), "split": split, "prompt": "a photo of teeth",
        "license": photos.license, "source": "annotated photograph", "synthetic": False,
        "light_method": LIGHTING_METHOD,
    }  # fmt: skip
    return shown_key(photo.name, photos.name_key), {**members, "json": json_bytes(metadata)}


def _size(width: int, height: int, edge: int | None) -> tuple[int, int]:
    scale = 1.0 if edge is None else min(1.0, edge / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _fitted(labels: Any, edge: int | None) -> Any:
    """A map at the size of the records; labels and lighting by nearest neighbour, so that they stay aligned."""
    size = _size(labels.shape[1], labels.shape[0], edge)
    if size == (labels.shape[1], labels.shape[0]):
        return labels
    return np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))


def _reduced(picture: Picture, edge: int | None) -> Any:
    size = _size(*picture.seen, edge)
    if size == picture.seen:
        return picture.pixels
    return np.asarray(Image.fromarray(picture.pixels).resize(size, Image.Resampling.BOX))
