"""The YAML front matter of a card: what the Hugging Face hub shows, and how ``datasets.load_dataset`` reads the shards.

It declares the types of a sample's members. ``datasets`` would otherwise infer them from the first five samples and
fail on later ones that fill a list or attribute which is empty in those.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from dentgen.documents.index import DatasetIndex
from dentgen.documents.samples import JudgedDocument, SampleMetadata
from dentgen.records import ATTRIBUTES, FIGURES
from dentgen.report.card.file_patterns import shard_paths
from dentgen.report.card.licenses import hub_license
from dentgen.report.card.members import sample_members
from dentgen.report.card.sample_summary import SampleSummary
from dentgen.shards.plan import Plan
from dentgen.spec.model import Scale

#: Name of the single split on the hub where shards mix several splits.
MIXED_SPLIT: Final = "mixed"
_NO_SPLIT_NAME: Final = re.compile(r"\W+", re.ASCII)
_MAX_LENGTH: Final = 64
_SIZES: Final = (
    (10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"), (10**9, "100M<n<1B"),
)  # fmt: skip
_DTYPES: Final = {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool"}

Feature = dict[str, Any]


def front_matter(index: DatasetIndex, plan: Plan, samples: SampleSummary, name: str) -> str:
    """The front matter as YAML, without its delimiters.

    Args:
        index: The sealed index.
        plan: The build's plan.
        samples: Counts over the written samples.
        name: Title of the dataset.
    """
    head: dict[str, Any] = {
        "pretty_name": name,
        **hub_license([text for text, _ in samples.licenses], plan.bundle_licenses),
        "task_categories": ["image-segmentation", "image-to-image"],
        "task_ids": ["semantic-segmentation", "instance-segmentation"],
        "tags": ["synthetic", "dental", "medical", "webdataset", "dentgen"],
        "size_categories": [next((size for limit, size in _SIZES if index.written < limit), "n>1B")],
    }
    if index.shards:
        head["configs"] = [{"config_name": "default", "data_files": _data_files(index, samples)}]
        head["dataset_info"] = {"config_name": "default", "features": _features(plan)}
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=100)


def hub_splits(samples: SampleSummary) -> dict[str, str]:
    """The hub's name for each split of the build.

    The hub assigns whole shards to splits. Where a shard mixes splits, or two splits would get the same name, all of
    them become ``MIXED_SPLIT``.
    """
    names = {split.name: _NO_SPLIT_NAME.sub("_", split.name)[:_MAX_LENGTH] or "train" for split in samples.splits}
    pure = all(len(splits) == 1 for splits in samples.shard_splits.values())
    if pure and len(set(names.values())) == len(names) and "all" not in names.values():  # "all" is reserved on the hub
        return names
    return dict.fromkeys(names, MIXED_SPLIT)


def _data_files(index: DatasetIndex, samples: SampleSummary) -> list[dict[str, Any]]:
    """Shards per split on the hub; a pattern for all would also match those that are not of this version."""
    names, units = hub_splits(samples), dict[str, list[str]]()
    for shard in index.shards:
        units.setdefault(names[samples.shard_splits[shard.name][0]], []).append(shard.name.removesuffix(".tar"))
    return [{"split": split, "path": shard_paths(units[split])} for split in sorted(units)]


def _features(plan: Plan) -> list[Feature]:
    """Types of all members, in the YAML form of ``datasets.Features``."""
    pixels = [{"name": member.extension, "dtype": "image"} for member in sample_members(plan) if member.is_image]
    return [*pixels, {"name": "json", "struct": _metadata(plan)}, _text("__key__"), _text("__url__")]


def _metadata(plan: Plan) -> list[Feature]:
    """Types of ``KEY.json``, from its schema, with the object keys that this plan writes."""
    model = plan.spec.model
    objects = {
        "adapters": _control_scales({**model.adapters, **model.controlnets}),
        "loras": _scales(model.loras),
        "attributes": [_text(name) for name in ATTRIBUTES],
        "augment": _scales(plan.spec.augment.used),
        "control": [_text("use"), {"name": "alpha", "dtype": "float64"}, _text("fit")],
        "software": [_text(name) for name in sorted(plan.environment)],
        "gate": _gate(),
    }
    schema = SampleMetadata.model_json_schema()
    absent = {*(() if plan.gate is not None else JudgedDocument.model_fields)}
    absent |= set() if plan.spec.regions.painted else {"painted"}
    absent |= {"series", "frame"} if plan.spec.sampling.noise == "record" else set()
    return [
        {"name": name, "struct": objects[name]} if name in objects else _plain(name, kind, schema["$defs"])
        for name, kind in schema["properties"].items()
        if name not in absent
    ]


def _gate() -> list[Feature]:
    figures = {"name": "figures", "struct": [{"name": name, "dtype": "float64"} for name in FIGURES]}
    return [figures, {"name": "failed", "sequence": "string"}, _text("fingerprint")]


def _plain(name: str, schema: dict[str, Any], definitions: dict[str, Any]) -> Feature:
    """A scalar or list, which may be null; every version of ``datasets`` understands "sequence" of scalars."""
    schema = next(form for form in schema.get("anyOf", [schema]) if form["type"] != "null")
    if schema["type"] != "array":
        return {"name": name, "dtype": _DTYPES[schema["type"]]}
    items = schema["items"]
    if "$ref" not in items:
        return {"name": name, "sequence": _DTYPES[items["type"]]}
    properties = definitions[items["$ref"].rpartition("/")[2]]["properties"]
    return {"name": name, "list": [_plain(key, kind, definitions) for key, kind in properties.items()]}


def _scales(scales: Mapping[str, float]) -> list[Feature]:
    return [{"name": name, "dtype": "float64"} for name in sorted(scales)]


def _control_scales(scales: Mapping[str, Scale]) -> list[Feature]:
    return [
        {"name": name, "struct": _scales(scale)} if isinstance(scale, dict) else {"name": name, "dtype": "float64"}
        for name, scale in sorted(scales.items())
    ]


def _text(name: str) -> Feature:
    return {"name": name, "dtype": "string"}
