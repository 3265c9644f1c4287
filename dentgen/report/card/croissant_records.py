"""Croissant's record sets of a build: the table of samples, and pictures joined with their maps by key.

A record set joins two sources at most (mlcroissant 1.1 carries out no more), so pictures and maps are joined in a
chain: images with seg, those with fdi, those with the next. Refuses to know what a build consists of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa

from dentgen.documents import ConditionMetadata
from dentgen.records import ATTRIBUTES
from dentgen.report.card.members import Member
from dentgen.shards.index import SAMPLE_SCHEMA, SAMPLES

Node = dict[str, Any]

#: Meaning of every column of ``samples.parquet``.
COLUMN_MEANINGS: Final = {
    "key": "Sample key: name of the sample's members in its shard.",
    "source_key": "Key of the condition record; its variants share all maps.",
    "group": "Patient or jaw, never to be divided between splits.",
    "split": "Split that the source names, empty if it names none.",
    "variant": "Number of the picture among those made from one record.",
    "status": "written or rejected; only written samples are in a shard.",
    "reason": "Why the sample was rejected.",
    "shard": "Name of the shard under shards/, empty if the sample was rejected.",
    "seed": "Seed of the build.",
    "prompt": "Prompt that the picture was made with.",
    "negative_prompt": "Prompt of the unconditional row of guidance.",
    "scheduler": "Solver of the diffusion.",
    "steps": "Steps of the diffusion.",
    "guidance_scale": "Strength of classifier-free guidance, 1 for none.",
    "adapters": "Adapters and their scales, JSON.",
    "loras": "LoRAs on UNet and text encoder, NAME=SCALE each.",
    "bundle": "Model bundle.",
    "bundle_digest": "sha256 of the model bundle.",
    "spec_digest": "sha256 of what the build spec decides.",
    "software": "Library versions, device, slots and threads, JSON.",
    "source_license": "Licence of the condition record, empty where unknown.",
    "teeth": "FDI numbers of the teeth in the picture.",
    "light_level": "Mean level of the lighting map where it is not 0; null if there is none.",
    "synthetic": "True: no camera took the picture.",
    **{name: f"{ConditionMetadata.model_fields[name].description} Where the source says so." for name in ATTRIBUTES},
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
    """``@id`` of the files of a member."""
    return f"{member.name}-files"


def record_sets(members: Sequence[Member]) -> list[Node]:
    """All record sets: samples, each kind of image by key, and the chain that joins them.

    Args:
        members: Members of every sample, the picture first; none if no sample was written.
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
    return _record_set("samples", "Every planned sample, written or rejected, with what decided it.", fields)


def _files(member: Member) -> Node:
    """The images of one member by key, which is the file's name up to the first dot."""
    name = member.name
    regex = rf"^([^.]+)\.{re.escape(member.extension)}$"
    key = {"extract": {"fileProperty": "fullpath"}, "transform": {"regex": regex}}
    files = {"fileSet": {"@id": file_set_id(member)}}
    types = ["sc:ImageObject", "cr:SegmentationMask", "cr:Label"] if name in {"seg", "fdi"} else "sc:ImageObject"
    content = {**files, "extract": {"fileProperty": "content"}}
    fields = [
        _field(f"{name}/{_KEY}", "Sample key.", {**files, **key}, dataType="sc:Text"),
        _field(f"{name}/{name}", f"{member.meaning}.", content, dataType=types),
    ]
    return _record_set(name, f"{name} of every written sample.", fields)


def _joined(images: Sequence[Member]) -> Iterator[Node]:
    """Pictures with one map more each time, by key."""
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
