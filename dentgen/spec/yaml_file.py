"""Build specs as files: read with overrides, cut down to a preview, compared key by key.

Refuses to know what keys mean.
"""

from __future__ import annotations

import json
import reprlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dentgen import storage
from dentgen.errors import SpecError
from dentgen.spec.build import BuildSpec

_Spec = TypeVar("_Spec", bound=BaseModel)


def read_spec(path: str | Path, overrides: Sequence[str] = ()) -> BuildSpec:
    """Read a build spec.

    Args:
        path: YAML file.
        overrides: ``a.b=value`` texts that replace single keys; values are YAML.

    Raises:
        SpecError: If the file or an override is wrong; the message names every wrong key.
    """
    return read_document(BuildSpec, path, overrides)


def read_document(kind: type[_Spec], path: str | Path, overrides: Sequence[str] = ()) -> _Spec:
    """Read a spec of any kind; arguments and errors are those of ``read_spec``."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: {error}") from error
    values = _yaml_values(str(path), text) or {}
    if not isinstance(values, dict):
        raise SpecError(f"{path}: found a YAML {type(values).__name__}, expected keys like '{_first_key(kind)}:'")
    for override in overrides:
        _apply(values, override)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines = [_told(kind, fault, overrides) for fault in error.errors()]
        raise SpecError(f"{path}:\n  " + "\n  ".join(lines)) from error


def _told(kind: type[BaseModel], fault: ErrorDetails, overrides: Sequence[str]) -> str:
    """What is wrong with a key, and whether the file is to blame or an override."""
    place = ".".join(map(str, fault["loc"])) or "spec"
    blamed = any(_within(override.partition("=")[0].strip(), place) for override in overrides)
    place = f"--set {place}" if blamed else place
    known = _keys_of(kind, fault["loc"][:-1]) if fault["type"] == "extra_forbidden" else None
    if known is not None:
        return f"{place}: found an unknown key, expected one of {', '.join(known)}"
    found = fault["input"]
    found = storage.without_secrets(found) if isinstance(found, str) else found
    return f"{place}: {fault['msg']}, found {reprlib.repr(found)}"


def _within(key: str, other: str) -> bool:
    """Whether one of two keys is the other, or lies within its section."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def _keys_of(kind: type[BaseModel], sections: Sequence[int | str]) -> list[str] | None:
    """Keys of a section, None where it is no section of fixed keys."""
    for name in sections:
        field = kind.model_fields.get(str(name))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return None
        kind = field.annotation
    return sorted(kind.model_fields)


def preview_spec(spec: BuildSpec, limit: int, *, beside: bool) -> BuildSpec:
    """The first records of a build; pictures are those that the build will have.

    Args:
        spec: The build.
        limit: How many records.
        beside: Put them beside the build's output, where they would stand in the way of the build itself.
    """
    source = spec.source.model_copy(update={"limit": limit})
    path = f"{spec.output.path.rstrip('/')}-preview-{limit}/" if beside else spec.output.path
    output = spec.output.model_copy(update={"path": path})
    return spec.model_copy(update={"source": source, "output": output})


def spec_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Every key whose value differs, as ``a.b: old -> new``."""
    before, after = dict(_flat(old)), dict(_flat(new))
    return [
        f"{key}: {before.get(key, '(absent)')!r} -> {after.get(key, '(absent)')!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def _first_key(kind: type[BaseModel]) -> str:
    return next(iter(kind.model_fields))


def _apply(values: dict[str, Any], override: str) -> None:
    path, found, text = override.partition("=")
    if not found:
        raise SpecError(f"--set {override}: expected section.key=value")
    *sections, key = path.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise SpecError(f"--set {override}: found the value {values!r} at {section}, expected a section")
    values[key] = _yaml_values(f"--set {override}", text)


class _UniqueKeys(yaml.SafeLoader):
    """Plain values; a key that a mapping has twice is an error, where YAML's loaders drop the first in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As the safe loader does, after a look at the keys."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        twice = [key for key, times in Counter(keys).items() if times > 1]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"found the key {twice[0]!r} twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _yaml_values(place: str, text: str) -> Any:
    """What YAML says, if it is a document of plain values.

    Raises:
        SpecError: If it is none, or aliases make it one without end.
    """
    if sum(text.count(opening) for opening in "[{") > _MOST_BRACKETS:  # yaml's scanner takes their square in time
        raise SpecError(f"{place}: no readable YAML: found more than {_MOST_BRACKETS} brackets, expected a spec")
    try:
        values = yaml.load(text, _UniqueKeys)  # noqa: S506 - a safe loader
        too_many = _count(values, _MOST_VALUES) > _MOST_VALUES
        if not too_many:
            json.dumps(values, ensure_ascii=False, default=str, skipkeys=True).encode()  # broken Unicode fails here
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # safe_load promises the first alone
        raise SpecError(f"{place}: no readable YAML: {error}") from error
    if too_many:
        raise SpecError(f"{place}: found more than {_MOST_VALUES} values, aliases counted each time, expected a spec")
    return values


def _count(values: Any, most: int) -> int:
    """Values in a document, counted to a little over ``most``: a few aliases of aliases can stand for billions."""
    if not isinstance(values, (dict, list, tuple, set)):
        return 1
    found = 1
    for value in values.values() if isinstance(values, dict) else values:
        if found > most:
            break
        found += _count(value, most - found)
    return found


#: In a spec: the largest that people write have some hundreds.
_MOST_VALUES: Final = 10_000
_MOST_BRACKETS: Final = 1000
_LEAF: Final = (str, int, float, bool, type(None), list, tuple)


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, _LEAF):
            flat.append((prefix + key, value))
        else:
            flat += _flat(value, f"{prefix}{key}.") or [(prefix + key, {})]
    return flat
