"""Croissant metadata of a build: JSON-LD that mlcroissant and dataset search engines read.

Version 1.1, http://mlcommons.org/croissant/1.1, with PROV-O and the RAI vocabulary. The same build gives the same
bytes, so there is no date; ``url``, ``creator`` and ``datePublished`` are for whoever publishes it. Refuses to know
where the file goes.

mlcroissant keeps unpacked archives by their URL, and relative ones are the same in every build: read two builds with
two values of CROISSANT_CACHE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from dentgen.documents import DatasetIndex, Unit
from dentgen.report.card.card import dataset_title
from dentgen.report.card.croissant_records import Node, file_set_id, record_sets
from dentgen.report.card.licenses import license_reference
from dentgen.report.card.members import Member, sample_members
from dentgen.report.card.sample_summary import SampleSummary
from dentgen.report.card.statements import BIASES, USES, limits, privacy
from dentgen.shards.index import SAMPLES
from dentgen.shards.ledger import SHARDS
from dentgen.shards.plan import Plan
from dentgen.shards.tar import json_bytes
from dentgen.spec.build import BuildSpec

CROISSANT: Final = "croissant.json"
_CONFORMS_TO: Final = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
#: Appendix 1 of the specification, in the namespace that mlcroissant takes for schema.org's, and PROV-O.
_CONTEXT: Final[Node] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{
        term: f"cr:{term}"
        for term in (
            "annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "excludes",
            "extract", "field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray",
            "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "readLines", "recordSet", "references",
            "regex", "repeated", "replace", "samplingRate", "sdVersion", "separator", "source", "subField",
            "transform", "unArchive", "value",
        )
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SamplesFile:
    """``samples.parquet`` as it was published: sha256 and bytes."""

    sha256: str
    bytes: int


def croissant(index: DatasetIndex, plan: Plan, samples: SampleSummary, samples_file: SamplesFile) -> bytes:
    """Croissant metadata of a build.

    Args:
        index: The sealed index.
        plan: The plan that it was made by.
        samples: The written samples, counted.
        samples_file: The table of samples.

    Returns:
        Canonical JSON. URLs in it are relative to the build.
    """
    members = sample_members(plan) if index.shards else ()
    return json_bytes(
        {
            "@context": _CONTEXT,
            "@type": "sc:Dataset",
            "conformsTo": _CONFORMS_TO,
            "name": dataset_title(index),
            "description": _description(index, samples),
            "license": _licenses(samples),
            "keywords": [
                "synthetic",
                "dental",
                "segmentation",
                "webdataset",
                BuildSpec.model_validate(plan.spec).sampling.source_type,
            ],
            # A new version adds samples and leaves the others as they are: a minor one, in the specification's words.
            "version": f"1.{index.version}.0",
            **_provenance(index, plan),
            **_responsible_ai(plan),
            "distribution": [_samples_object(samples_file), *_shard_objects(index, plan), *_file_sets(index, members)],
            "recordSet": record_sets(members),
        }
    )


def _description(index: DatasetIndex, samples: SampleSummary) -> str:
    return (
        f"{index.written} synthetic intraoral pictures with pixel labels, made by a diffusion model from "
        f"{samples.records} condition records of {samples.groups} patients or jaws. {USES[1]} See README.md."
    )


def _licenses(samples: SampleSummary) -> str | list[str]:
    found = sorted({license_reference(text) for text, _ in samples.licenses}) or ["unknown"]
    return found if len(found) > 1 else found[0]


def _source_type(plan: Plan) -> str:
    return BuildSpec.model_validate(plan.spec).sampling.source_type


def _provenance(index: DatasetIndex, plan: Plan) -> Node:
    """What the dataset was made from and by, in PROV-O."""
    spec = BuildSpec.model_validate(plan.spec)
    sampling = spec.sampling
    bundle = _entity(f"model bundle {spec.model.bundle}, sha256 {index.bundle_digest}")
    shards = len({unit.shard for unit in plan.units})
    source = _entity(f"{sum(unit.records for unit in plan.units)} condition records in {shards} shards")
    label = f"dentgen build: {sampling.scheduler_name}, {sampling.steps} steps, spec sha256 {index.spec_digest}"
    return {
        "prov:wasDerivedFrom": [source, bundle],
        "prov:wasGeneratedBy": {"@type": "prov:Activity", "prov:label": label},
        "prov:wasAttributedTo": {"@type": "prov:SoftwareAgent", "prov:label": f"dentgen {_version(plan)}"},
    }


def _responsible_ai(plan: Plan) -> Node:
    return {
        "rai:hasSyntheticData": True,
        "rai:dataCollection": "No picture was collected: all were sampled from a diffusion model under condition maps.",
        "rai:dataCollectionType": ["Others: generated by a model"],
        "rai:dataCollectionRawData": "Condition maps: segmentation, FDI numbers, lighting and the like, see the card.",
        "rai:dataPreprocessingProtocol": ["Maps were fitted to the model's size, labels by nearest neighbour."],
        "rai:dataAnnotationProtocol": ["Labels are the maps that the pictures were made from."],
        "rai:machineAnnotationTools": [f"dentgen {_version(plan)}"],
        "rai:dataUseCases": list(USES),
        "rai:dataLimitations": list(limits(plan)),
        "rai:dataBiases": [BIASES],
        "rai:personalSensitiveInformation": [privacy(plan)],
        "rai:dataSocialImpact": "Spares pictures of patients. A model may inherit the bundle's biases.",
    }  # fmt: skip


def _samples_object(file: SamplesFile) -> Node:
    return {
        "@type": "cr:FileObject",
        "@id": SAMPLES,
        "name": SAMPLES,
        "description": "A row for every planned sample, written or rejected.",
        "contentUrl": SAMPLES,
        "contentSize": f"{file.bytes} B",
        "encodingFormat": "application/x-parquet",
        "sha256": file.sha256,
    }


def _shard_objects(index: DatasetIndex, plan: Plan) -> list[Node]:
    """The shards, each with the condition shard that it was made from; a unit's shard has the unit's name."""
    units = {f"{unit.name}.tar": unit for unit in plan.units}
    return [
        {
            "@type": "cr:FileObject",
            "@id": f"{SHARDS}/{shard.name}",
            "name": shard.name,
            "description": f"WebDataset shard with {shard.samples} samples.",
            "contentUrl": f"{SHARDS}/{shard.name}",
            "contentSize": f"{shard.bytes} B",
            "encodingFormat": "application/x-tar",
            "sha256": shard.sha256,
            **({"prov:wasDerivedFrom": _unit_entity(units[shard.name])} if shard.name in units else {}),
        }
        for shard in index.shards
    ]


def _file_sets(index: DatasetIndex, members: tuple[Member, ...]) -> list[Node]:
    """The files of each member, across all shards."""
    shards = [{"@id": f"{SHARDS}/{shard.name}"} for shard in index.shards]
    return [
        {
            "@type": "cr:FileSet",
            "@id": file_set_id(member),
            "name": file_set_id(member),
            "description": f"{member.name} of every sample: {member.meaning}.",
            "containedIn": shards,
            "encodingFormat": member.media_type,
            # Keys hold no dot and end in the variant, so this is KEY.png and never KEY.seg.png.
            "includes": f"*-v[0-9][0-9][0-9].{member.extension}",
        }
        for member in members
    ]


def _unit_entity(unit: Unit) -> Node:
    return _entity(f"condition shard {unit.shard}, records {unit.start} to {unit.stop - 1}")


def _entity(label: str) -> dict[str, Any]:
    return {"@type": "prov:Entity", "prov:label": label}


def _version(plan: Plan) -> str:
    return plan.environment.get("dentgen", "")
