"""Markdown tables of the keys of a spec or document, from the JSON Schema of its type."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from dentgen import errors
from dentgen.documents.conditions import ConditionMetadata
from dentgen.documents.index import DatasetIndex, SealRecord, TickRecord
from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.samples import SampleMetadata, SampleStatus
from dentgen.shards.sample_rows import SAMPLE_SCHEMA
from dentgen.spec import train_personal, train_recipes, train_reward, train_students
from dentgen.spec.build import BuildSpec
from dentgen.spec.train import RECIPES

Schema = Mapping[str, Any]

_REQUIRED: Final = "required"
_NAMES: Final = {"string": "text", "boolean": "true/false", "integer": "whole number", "number": "number"}
#: Keys that the headings of the training recipes name.
_IN_TITLE: Final = ("recipe", "decoder")
#: Numbers that stand for "as large as 64 bits hold".
_HUGE: Final = 2**62
_DOCUMENTS: Final = (
    ConditionMetadata, SampleMetadata, SampleStatus, LedgerRecord, DatasetIndex, SealRecord, TickRecord,
)  # fmt: skip
#: Fields whose names say enough for the code, but not for a table.
_MEANINGS: Final = {
    "ConditionMetadata.prompt": "Prompt of the record.",
    "ConditionMetadata.split": "Split of the record.",
    "attributes": "What the picture shows, where the source names it.",
    "bundle": "The model bundle, as the spec names it.",
    "bundle_digest": "sha256 of the weights that were used.",
    "bytes": "Size of the shard.",
    "decoder": "`kl` or `tiny`.",
    "group": "Patient or jaw.",
    "guidance_scale": "Classifier-free guidance; 1 is none.",
    "height": "Height of the picture, pixels.",
    "key": "Sample key: record key and variant.",
    "negative_prompt": "Prompt of the unconditional row.",
    "planned": "Samples planned, which is written + rejected.",
    "prompt": "Effective prompt.",
    "rejected": "Samples rejected with a reason.",
    "samples": "Status of every planned sample.",
    "scheduler": "Solver.",
    "seed": "Seed of the build.",
    "sha256": "Digest of the shard.",
    "shards": "Name, bytes, sha256 and number of samples of every shard.",
    "source_key": "Key of the condition record.",
    "spec_digest": "sha256 of the part of the spec that decides bytes.",
    "split": "Split, as the source names it.",
    "status": "Whether it is in a shard.",
    "steps": "UNet calls.",
    "timing": "When, how long and where the unit was made.",
    "unit": "Number of the unit.",
    "variant": "Number of the variant, from 0.",
    "version": "Version of the dataset.",
    "warnings": "Oddities that did not prevent use.",
    "width": "Width of the picture, pixels.",
    "written": "Samples in the shards.",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One key: its dotted path, type, default as YAML ("required" without one) and description."""

    key: str
    type: str
    default: str
    meaning: str

    def markdown(self) -> str:
        """A row of four cells."""
        default = self.default if self.default == _REQUIRED else f"`{self.default}`"
        return f"| `{self.key}` | {self.type} | {default} | {_cell(self.meaning)} |"


def build_spec_table(section: str) -> str:
    """Keys of one section of the build spec.

    Raises:
        KeyError: If there is no such section.
    """
    if section not in BuildSpec.model_fields:
        raise KeyError(section)
    return _table(row for row in spec_rows(BuildSpec) if row.key.startswith(f"{section}."))


def training_spec_tables() -> str:
    """The keys that every recipe has, then those of each recipe."""
    rows = {kind: spec_rows(kind) for kind in _recipe_classes()}
    first, *others = rows.values()
    common = [row for row in first if all(row in other for other in others)]
    parts = ["## Keys of every recipe\n", _table(common)]
    for kind, own in rows.items():
        further = [row for row in own if row not in common and row.key not in _IN_TITLE]
        parts += [f"\n## {_recipe_title(kind)}\n", f"{kind.__doc__}\n", _table(further)]
    return "\n".join(parts)


def document_table(name: str) -> str:
    """Fields of a JSON document that dentgen reads or writes.

    Raises:
        KeyError: If there is no such document.
    """
    kind = {document.__name__: document for document in _DOCUMENTS}[name]
    schema = kind.model_json_schema()
    lines = ["| field | type | meaning |", "|---|---|---|"]
    for field, values in schema["properties"].items():
        meaning = values.get("description") or _MEANINGS.get(f"{name}.{field}") or _MEANINGS[field]
        lines.append(f"| `{field}` | {type_text(values, schema.get('$defs', {}))} | {_cell(meaning)} |")
    return "\n".join(lines)


def sample_columns() -> str:
    """Columns of ``samples.parquet``."""
    return ", ".join(f"`{name}`" for name in SAMPLE_SCHEMA.names)


def error_tree() -> str:
    """The tree of errors, from the docstring of their module."""
    lines = [line.removeprefix("    ") for line in str(errors.__doc__).splitlines() if line.startswith("    ")]
    return "\n".join(["```text", *lines, "```"])


def spec_rows(kind: type[BaseModel]) -> list[Row]:
    """Every key of a spec, those of nested sections, and of sections in lists, by their dotted path."""
    schema = kind.model_json_schema()
    return list(_rows(schema, schema.get("$defs", {}), "", None))


def type_text(schema: Schema, definitions: Mapping[str, Schema]) -> str:
    """The values that a JSON Schema allows, in words."""
    schema = _resolved(schema, definitions)
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{yaml_text(value)}`" for value in schema.get("enum", [schema.get("const")]))
    if choices := schema.get("anyOf", schema.get("oneOf")):
        *others, last = (type_text(choice, definitions) for choice in choices)
        return f"{', '.join(others)} or {last}"
    match schema.get("type"):
        case "array":
            return _array_text(schema, definitions)
        case "object":
            return _mapping_text(schema, definitions)
        case "null":
            return "`null`"
        case name:
            return f"{_NAMES[str(name)]}{_bounds(schema)}"


def yaml_text(value: Any) -> str:
    """A value as it is written in a YAML file, on one line."""
    match value:
        case bool() | None:
            return json.dumps(value)
        case str():
            return value or '""'
        case Mapping():
            return "{" + ", ".join(f"{key}: {yaml_text(item)}" for key, item in value.items()) + "}"
        case Sequence():
            return "[" + ", ".join(map(yaml_text, value)) + "]"
        case _:
            return str(value)


def _table(rows: Iterable[Row]) -> str:
    lines = [row.markdown() for row in rows]
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *lines])


def _rows(schema: Schema, definitions: Mapping[str, Schema], prefix: str, defaults: Any) -> Iterator[Row]:
    """Rows of an object; ``defaults`` are the enclosing default, which takes precedence over the fields' own."""
    for name, field in schema["properties"].items():
        key, section = f"{prefix}{name}", _section(field, definitions)
        default = defaults.get(name) if isinstance(defaults, Mapping) else section.get("default", _REQUIRED)
        if "properties" in section:
            yield from _rows(section, definitions, f"{key}.", field.get("default"))
        else:
            text = default if default == _REQUIRED else yaml_text(default)
            yield Row(key, type_text(section, definitions), text, section.get("description", ""))


def _section(field: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """A field's schema; of a list of sections that of one of them."""
    schema = _resolved(field, definitions)
    items = _resolved(schema.get("items", {}), definitions)
    return items if "properties" in items else schema


def _resolved(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    if "$ref" not in schema:
        return schema
    return {**definitions[schema["$ref"].rpartition("/")[2]], **{k: v for k, v in schema.items() if k != "$ref"}}


def _array_text(schema: Schema, definitions: Mapping[str, Schema]) -> str:
    if "prefixItems" in schema:
        texts = [type_text(item, definitions) for item in schema["prefixItems"]]
        return f"list of {len(texts)}, each a {texts[0]}" if len(set(texts)) == 1 else " and ".join(texts)
    return f"list of {_plural(type_text(schema['items'], definitions))}"


def _mapping_text(schema: Schema, definitions: Mapping[str, Schema]) -> str:
    values = schema.get("additionalProperties")
    if not isinstance(values, Mapping):
        return "mapping"
    return f"mapping of names to {_plural(type_text(values, definitions))}"


def _plural(text: str) -> str:
    plurals = {"text": "texts", "number": "numbers", "whole number": "whole numbers", "mapping": "mappings"}
    return plurals.get(text, text)


def _bounds(schema: Schema) -> str:
    """What a number is limited to, such as ", 0 to 1"."""
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    parts = []
    if (low is not None and abs(low) > _HUGE) or (below is not None and abs(below) > _HUGE):
        return " of 64 bits"
    if low is not None and high is not None:
        parts.append(f"{low:g} to {high:g}")
    else:
        parts += [f"at least {low:g}"] if low is not None else []
        parts += [f"above {above:g}"] if above is not None else []
        parts += [f"below {below:g}"] if below is not None else []
        parts += [f"at most {high:g}"] if high is not None else []
    parts += [f"a multiple of {schema['multipleOf']:g}"] if "multipleOf" in schema else []
    return "".join(f", {part}" for part in parts)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _recipe_classes() -> list[type[BaseModel]]:
    """Spec classes in the order of ``RECIPES``; a recipe can have several."""
    kinds = [
        kind
        for module in (train_recipes, train_reward, train_students, train_personal)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, BaseModel) and _recipe_of(kind)
    ]
    return sorted(dict.fromkeys(kinds), key=lambda kind: RECIPES.index(_recipe_of(kind)))


def _recipe_of(kind: type[BaseModel]) -> str:
    """The recipe that a spec class is for; "" for their bases."""
    values = kind.model_json_schema()["properties"].get("recipe", {})
    return str(values.get("const", ""))


def _recipe_title(kind: type[BaseModel]) -> str:
    decoder = kind.model_json_schema()["properties"].get("decoder", {}).get("const")
    return f"`{_recipe_of(kind)}`" + (f", `decoder: {decoder}`" if decoder else "")
