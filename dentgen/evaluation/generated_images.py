"""Images of complete builds over a source, as arrays, so that a model is measured as its users run it.

Builds are cached in the work folder under the digest of their spec and bundle.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dentgen import storage
from dentgen.conditions.readers.raw import RecordRange
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.documents.units import sample_key
from dentgen.errors import BuildError
from dentgen.evaluation.reference_set import ReferenceSet
from dentgen.models.bundle import bundle_digest
from dentgen.pipeline.run import build
from dentgen.progress import ConsoleProgress
from dentgen.records import IMAGE_FORMATS
from dentgen.redaction import shown_name
from dentgen.shards.layout import SUCCESS
from dentgen.shards.reader import Members, read_samples
from dentgen.shards.tar import json_bytes, tar_bytes
from dentgen.spec.build import BuildSpec


def finished_build(work: str, spec: BuildSpec, source: str, *, variants: int, limit: int | None = None) -> str:
    """Build the spec over another source, unless the work folder already holds that build.

    Args:
        work: Folder or URL that caches builds.
        spec: Model and sampling; its own source, output and number of variants are replaced.
        source: Condition shards.
        variants: Images per record.
        limit: Only the first records; None for all.

    Returns:
        Output folder of the finished build.

    Raises:
        BuildError: If the build fails.
    """
    spec = spec.model_copy(
        update={
            "source": spec.source.model_copy(update={"path": source, "format": "auto", "split": None, "limit": limit}),
            "sampling": spec.sampling.model_copy(update={"variants": variants}),
        }
    )
    out = storage.join(work, "builds", f"{storage.name_of(source)}-{model_digest(spec)}")
    if not storage.exists(storage.join(out, SUCCESS)):
        _build(spec.model_copy(update={"output": spec.output.model_copy(update={"path": out})}))
    return out


def _build(spec: BuildSpec) -> None:
    with ConsoleProgress(f"images of {shown_name(storage.name_of(spec.source.path))}", "image") as progress:
        build(spec, use_ray=False, progress=progress)


def model_digest(spec: BuildSpec) -> str:
    """Identify a spec together with the current content of its bundle, in 12 hexadecimal digits."""
    return hashlib.sha256(f"{spec.digest()} {bundle_digest(spec.model)}".encode()).hexdigest()[:12]


def generated_images(
    work: str, spec: BuildSpec, reference: ReferenceSet, *, variants: int, limit: int | None = None
) -> NDArray[np.uint8]:
    """Generate from a set's maps.

    Args:
        work: Folder or URL that caches builds.
        spec: Model and sampling.
        reference: Records to generate from.
        variants: Images per record.
        limit: Only the first records; None for all.

    Returns:
        (records, variants, H, W, 3) uint8 images, in the order of the set.

    Raises:
        BuildError: If the build fails or lacks an image, because the sample was rejected.
    """
    out = finished_build(work, spec, reference.source, variants=variants, limit=limit)
    return read_images(out, reference.keys[:limit], variants)


def reworded_images(
    work: str, spec: BuildSpec, reference: ReferenceSet, name: str, pattern: str, replacement: str, limit: int
) -> NDArray[np.uint8]:
    """Generate from a set's first records with one word of every prompt replaced.

    Record keys are unchanged, hence so is the noise.

    Args:
        work: Folder or URL that caches changed records and builds.
        spec: Model and sampling.
        reference: Records to generate from.
        name: Name of the replacement, unique within ``work``.
        pattern: Regular expression, as for ``re.sub``.
        replacement: As for ``re.sub``.
        limit: Number of records.

    Returns:
        (records, H, W, 3) uint8 images.

    Raises:
        BuildError: If the build fails or lacks an image.
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
    return read_images(out, reference.keys[:limit], 1)[:, 0]


def read_images(out: str, keys: Sequence[str], variants: int) -> NDArray[np.uint8]:
    """Images (records, variants, H, W, 3) uint8 of a finished build; others of it are not decoded.

    Raises:
        BuildError: If it lacks one, because the sample was rejected.
    """
    wanted = [sample_key(key, variant) for key in keys for variant in range(variants)]
    known = frozenset(wanted)
    images = {key: _decode_image(members) for key, members in read_samples(out) if key in known}
    if missing := [key for key in wanted if key not in images]:
        raise BuildError(
            file=out,
            key=missing[0],
            found=f"no image of this sample, {len(missing)} missing in total",
            expected=f"an image of each of {len(wanted)} samples",
            advice="the report of that build lists why samples were rejected",
        )
    first = images[wanted[0]]
    return np.stack([images[key] for key in wanted]).reshape(len(keys), variants, *first.shape)


def _decode_image(members: Members) -> NDArray[np.uint8]:
    extension = next(name for name in IMAGE_FORMATS if name in members)
    return np.asarray(Image.open(io.BytesIO(members[extension])).convert("RGB"))
