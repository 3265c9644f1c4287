"""Pictures of whole builds over a source, as arrays: the model as its users have it, engine, decoder and all.

A build is kept in the work folder under the digest of its spec and its bundle. Refuses to know what is measured.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Sequence
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dentgen import storage
from dentgen.conditions.readers.raw import RecordRange
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.documents import sample_key
from dentgen.errors import BuildError
from dentgen.evaluation.reference_set import ReferenceSet
from dentgen.models.bundle import chosen_digest
from dentgen.pipeline.run import build
from dentgen.shards.index import SUCCESS
from dentgen.shards.reader import Members, read_samples
from dentgen.shards.tar import json_bytes, tar_bytes
from dentgen.spec.build import BuildSpec

_PICTURES: Final = ("png", "jpg", "webp")


def finished_build(work: str, spec: BuildSpec, source: str, *, variants: int, limit: int | None = None) -> str:
    """Output folder of the spec's build over a source in the work folder; made only if it is not there yet."""
    spec = spec.model_copy(
        update={
            "source": spec.source.model_copy(update={"path": source, "format": "auto", "split": None, "limit": limit}),
            "sampling": spec.sampling.model_copy(update={"variants": variants}),
        }
    )
    out = storage.join(work, "builds", f"{storage.name_of(source)}-{model_digest(spec)}")
    if not storage.exists(storage.join(out, SUCCESS)):
        build(spec.model_copy(update={"output": spec.output.model_copy(update={"path": out})}), use_ray=False)
    return out


def model_digest(spec: BuildSpec) -> str:
    """Names a spec together with what its bundle holds now, in 12 letters."""
    return hashlib.sha256(f"{spec.digest()} {chosen_digest(spec.model)}".encode()).hexdigest()[:12]


def generated_pictures(
    work: str, spec: BuildSpec, reference: ReferenceSet, *, variants: int, limit: int | None = None
) -> NDArray[np.uint8]:
    """(records, variants, H, W, 3) pictures made from a set's maps, or from its first ones, in its order.

    Raises:
        BuildError: If the model failed on one of them.
    """
    out = finished_build(work, spec, reference.source, variants=variants, limit=limit)
    return _pictures(out, reference.keys[:limit], variants)


def reworded_pictures(
    work: str, spec: BuildSpec, reference: ReferenceSet, name: str, pattern: str, replacement: str, limit: int
) -> NDArray[np.uint8]:
    """(records, H, W, 3) pictures of a set's first records with one word of every prompt exchanged.

    Keys are the same, so noise is too.

    Args:
        work: Folder for changed records and builds.
        spec: Whose model is used.
        reference: The set.
        name: Of the exchange.
        pattern: As for ``re.sub``.
        replacement: As for ``re.sub``.
        limit: Records.
    """
    source = storage.join(work, "words", f"{storage.name_of(reference.source)}-{limit}-{name}")
    records = (raw for shard in list_shards(reference.source) for raw in read_records(shard, RecordRange(0, limit)))
    samples = []
    for raw in islice(records, limit):
        metadata = json.loads(raw.members["json"])
        metadata["prompt"] = re.sub(pattern, replacement, metadata["prompt"])
        samples.append((raw.key, {**raw.members, "json": json_bytes(metadata)}))
    storage.put_if_absent(storage.join(source, "records.tar"), tar_bytes(samples))
    out = finished_build(work, spec, source, variants=1)
    return _pictures(out, reference.keys[:limit], 1)[:, 0]


def _pictures(out: str, keys: Sequence[str], variants: int) -> NDArray[np.uint8]:
    pictures = {key: _picture(members) for key, members in read_samples(out)}
    wanted = [sample_key(key, variant) for key in keys for variant in range(variants)]
    if missing := [key for key in wanted if key not in pictures]:
        raise BuildError(f"{out}: found no picture {missing[0]} and {len(missing)} in all, expected {len(wanted)}")
    first = pictures[wanted[0]]
    return np.stack([pictures[key] for key in wanted]).reshape(len(keys), variants, *first.shape)


def _picture(members: Members) -> NDArray[np.uint8]:
    extension = next(name for name in _PICTURES if name in members)
    return np.asarray(Image.open(io.BytesIO(members[extension])).convert("RGB"))
