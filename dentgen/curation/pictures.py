"""Pictures of a finished build, or of condition records with photos, one after the other."""

from __future__ import annotations

import io
import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dentgen import storage
from dentgen.conditions.decode import decode_photo
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.errors import ConditionError
from dentgen.records import IMAGE_FORMATS
from dentgen.shards import layout
from dentgen.shards.index_reader import read_index
from dentgen.shards.reader import Members, read_shard, tar_samples

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture.

    Attributes:
        key: Key of its sample or record.
        shard: Name of its shard.
        pixels: (H, W, 3) uint8.
    """

    key: str
    shard: str
    pixels: NDArray[np.uint8]


def read_pictures(place: str, keys: Collection[str] | None = None) -> Iterator[Picture]:
    """Read pictures shard by shard, in the order of the build or source.

    Only one shard is in memory. Reading ends with the last picture that is asked for. Records without a photo, and
    damaged ones, are passed over; the latter with a warning.

    Args:
        place: A finished build, or condition records with photos: folder or URL.
        keys: Keys to read; None for all.

    Raises:
        BuildError: If a shard of the build is damaged.
        ConditionError: If there are neither a build nor records.
        StorageError: If something cannot be read.
    """
    missing = None if keys is None else set(keys)
    is_build = storage.exists(storage.join(place, layout.INDEX))
    if missing is not None and not missing:
        return
    for picture in _of_build(place, missing) if is_build else _of_records(place, missing):
        yield picture
        if missing is not None:
            missing.discard(picture.key)
            if not missing:
                return


def _of_build(out: str, wanted: Collection[str] | None) -> Iterator[Picture]:
    for shard in read_index(out).shards:
        for key, members in tar_samples(read_shard(out, shard)):
            if wanted is None or key in wanted:
                yield Picture(key, shard.name, _decoded(members))


def _of_records(place: str, wanted: Collection[str] | None) -> Iterator[Picture]:
    for shard in list_shards(place):
        for raw in read_records(shard):
            if wanted is not None and raw.key not in wanted:
                continue
            try:
                photo = decode_photo(raw)
            except ConditionError as error:
                _LOG.warning("%s: passed over: %s", storage.without_secrets(place), error)
                continue
            if photo is not None:
                yield Picture(raw.key, shard.name, photo)


def _decoded(members: Members) -> NDArray[np.uint8]:
    """The generated picture (H, W, 3) of a sample."""
    content = next(members[name] for name in IMAGE_FORMATS if name in members)
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
