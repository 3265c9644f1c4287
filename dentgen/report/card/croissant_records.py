"""The Croissant record sets of a build: the table of samples, and pictures joined with their maps by key.

mlcroissant 1.1 joins at most two sources in a record set. Pictures and maps are therefore joined in a chain: images
with seg, the result with fdi, and so on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa

from dentgen.documents.conditions import ConditionMetadata
from dentgen.records import ATTRIBUTES, FigureName
from dentgen.report.card.members import Member
from dentgen.shards.layout import SAMPLES
from dentgen.shards.sample_rows import SAMPLE_SCHEMA

Node = dict[str, Any]

#: Description of every figure of the quality gate.
FIGURE_MEANINGS: Final[dict[FigureName, str]] = {
    "miou": "Mean intersection over union of tissues seen by judges and labelled",
    "tooth_recall": "Share of the teeth that judges see",
    "boundary_f1": "F1 of the outline of the teeth",
    "bleed_in": "Share of the tooth pixels seen as gum",
    "bleed_out": "Share of the gum pixels seen as tooth",
    "shift": "Pixels, at an image size of 128, by which the teeth are off their labels",
    "light_correlation": "Correlation of luminance and lighting map within teeth",
    "luminance": "Mean linear luminance",
    "contrast": "Standard deviation of the linear luminance",
    "clipped": "Share of labelled pixels that are black or white",
    "sharpness": "Decimal logarithm of the energy at wavelengths below 4 pixels, per variance",
    "distinct": "Share of the hash's bits in which it differs from the most similar picture before it in its unit",
}
#: Description of every column of ``samples.parquet``.
COLUMN_MEANINGS: Final = {
    "key": "Sample key: file name of the sample's members in its shard, without their extensions.",
    "source_key": "Key of the condition record; its variants share all maps.",
    "group": "Patient or jaw; never divide one between splits.",
    "split": "Split that the source names, empty if it names none.",
    "variant": "Index of the picture among those generated from one record.",
    "status": "written or rejected; only written samples are in a shard.",
    "reason": "Why the sample was rejected.",
    "shard": "Name of the shard under shards/, empty if the sample was rejected.",
    "seed": "Seed of the build.",
    "prompt": "Prompt that the picture was generated with.",
    "negative_prompt": "Negative prompt of classifier-free guidance.",
    "scheduler": "Diffusion solver.",
    "steps": "Number of denoising steps.",
    "guidance_scale": "Scale of classifier-free guidance, 1 for none.",
    "adapters": "Adapters and their scales, JSON.",
    "loras": "LoRAs of UNet and text encoder with their scales, JSON.",
    "bundle": "Model bundle.",
    "bundle_digest": "sha256 of the model bundle.",
    "spec_digest": "sha256 of the deciding part of the build spec.",
    "software": "Library versions, device, slots and threads, JSON.",
    "source_license": "License of the condition record, empty if unknown.",
    "teeth": "FDI numbers of the teeth in the picture.",
    "findings": "Kinds of the findings that the picture was asked to show.",
    "reference": "Key of the sample that differs from this one in one factor, empty without one.",
    "changed": "That factor: findings, prompt or lighting.",
    "findings_found": "Those of them that a judge found in it.",
    "findings_missed": "Those that it did not find; where it had nothing to compare, in neither.",
    "light_level": "Mean of the lighting map over its non-zero pixels; null if there is no lighting map.",
    **{
        f"gate_{name}": f"{meaning}; null without a gate, or with nothing to compare."
        for name, meaning in FIGURE_MEANINGS.items()
    },
    "gate_failed": "Figures outside the gate's limits; null without a gate.",
    "fingerprint": "Perceptual hash of 256 bits, hexadecimal; null without a gate.",
    "retries": "How often the picture was made again with other noise.",
    "synthetic": "True if no photograph went into the picture.",
    **{name: f"{ConditionMetadata.model_fields[name].description} Empty if unknown." for name in ATTRIBUTES},
}
_DATA_TYPES: Final = {
    pa.string(): "sc:Text",
    pa.bool_(): "sc:Boolean",
    pa.uint8(): "cr:UInt8",
    pa.int32(): "cr:Int32",
    pa.int64(): "cr:Int64",
    pa.float64(): "cr:Float64",
}
_KEY: Final = "key"


def file_set_id(member: Member) -> str:
    """``@id`` of a member's set of files."""
    return f"{member.name}-files"


def record_sets(members: Sequence[Member]) -> list[Node]:
    """All record sets: the samples, each kind of image by key, and the chain that joins them.

    Args:
        members: Members of every sample, the picture first; empty if no sample was written.
    """
    images = [member for member in members if member.is_image]
    return [_samples(), *(_files(member) for member in images), *_joined(images)]


def _samples() -> Node:
    """The rows of ``samples.parquet``."""
    fields = [
        _field(
            f"samples/{column.name}",
            COLUMN_MEANINGS[column.name],
            {"fileObject": {"@id": SAMPLES}, "extract": {"column": column.name}},
            **_data_type(column.type),
        )
        for column in SAMPLE_SCHEMA
    ]
    return _record_set("samples", "Every planned sample, written or rejected, with its metadata.", fields)


def _files(member: Member) -> Node:
    """The images of one member by key; the key is the file name up to the first dot."""
    name = member.name
    regex = rf"^([^.]+)\.{re.escape(member.extension)}$"
    key = {"extract": {"fileProperty": "fullpath"}, "transform": {"regex": regex}}
    files = {"fileSet": {"@id": file_set_id(member)}}
    types = (
        ["sc:ImageObject", "cr:SegmentationMask", "cr:Label"]
        if name in {"seg", "fdi", "lesion", "finding"}
        else "sc:ImageObject"
    )
    content = {**files, "extract": {"fileProperty": "content"}}
    fields = [
        _field(f"{name}/{_KEY}", "Sample key.", {**files, **key}, dataType="sc:Text"),
        _field(f"{name}/{name}", f"{member.meaning}.", content, dataType=types),
    ]
    return _record_set(name, f"{name} of every written sample.", fields)


def _joined(images: Sequence[Member]) -> Iterator[Node]:
    """Record sets that each join one more map to the pictures, by key."""
    for count in range(2, len(images) + 1):
        names = [image.name for image in images[:count]]
        left, right, joined = "-".join(names[:-1]), names[-1], "-".join(names)
        key = _field(
            f"{joined}/{_KEY}",
            "Sample key.",
            {"field": {"@id": f"{left}/{_KEY}"}},
            dataType="sc:Text",
            references={"field": {"@id": f"{right}/{_KEY}"}},
        )
        pixels = [
            _field(
                f"{joined}/{image.name}",
                f"{image.meaning}.",
                {"field": {"@id": f"{right if image.name == right else left}/{image.name}"}},
                dataType="sc:ImageObject",
            )
            for image in images[:count]
        ]
        yield _record_set(joined, f"Pictures with {', '.join(names[1:])}, joined by key.", [key, *pixels])


def _record_set(name: str, description: str, fields: list[Node]) -> Node:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "key": {"@id": f"{name}/{_KEY}"},
        "field": fields,
    }


def _field(identifier: str, description: str, source: Node, **properties: Any) -> Node:
    return {
        "@type": "cr:Field",
        "@id": identifier,
        "name": identifier.rsplit("/", 1)[1],
        "description": description,
        "source": source,
        **properties,
    }


def _data_type(kind: pa.DataType) -> Node:
    if pa.types.is_list(kind):
        return {**_data_type(kind.value_type), "isArray": True, "arrayShape": "-1"}
    return {"dataType": _DATA_TYPES[kind]}
