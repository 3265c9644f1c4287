"""Specs as YAML 1.2 files: read with overrides, validated, cut down to a preview, compared key by key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml.error import YAMLError

from dentgen import storage
from dentgen.errors import DentgenError, SpecError, found_and_expected
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_scalars import misread_scalars, yaml_reader

_Spec = TypeVar("_Spec", bound=BaseModel)

#: The largest specs that people write have a few kilobytes and some hundred values.
_MAX_BYTES: Final = 64 * 2**10
_MAX_VALUES: Final = 10_000
_LEAF: Final = (str, int, float, bool, type(None), list, tuple)


def read_spec(path: str | Path, overrides: Sequence[str] = ()) -> BuildSpec:
    """Read a build spec.

    Args:
        path: YAML file.
        overrides: ``a.b=value`` texts that replace single keys; values are YAML.

    Raises:
        SpecError: If the file or an override is wrong; ``faults`` names every wrong key.
    """
    return validate_document(BuildSpec, read_values(path, overrides), path, overrides)


def require_places(spec: BuildSpec, file: str | Path) -> None:
    """Require that a spec says where records come from and where samples go: an empty one must not start a build.

    Raises:
        SpecError: If ``source.path`` or ``output.path`` was not given.
    """
    sections: dict[str, BaseModel] = {"source": spec.source, "output": spec.output}
    missing = [f"{name}.path" for name, section in sections.items() if "path" not in section.model_fields_set]
    if missing:
        raise SpecError(file=str(file), key=" and ".join(missing), found="nothing", expected="folders or URLs",
                        advice="add the keys, or --set KEY=VALUE")  # fmt: skip


def read_values(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a YAML mapping and apply overrides to it, before any validation.

    Raises:
        SpecError: If the file cannot be read, is not a mapping, or an override names no key.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise SpecError(str(error), file=str(path)) from error
    if len(content) > _MAX_BYTES:
        raise SpecError(file=str(path), found=f"over {_MAX_BYTES} bytes", expected=f"at most {_MAX_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"the byte {content[error.start]:#04x} at {error.start}"
        raise SpecError(file=str(path), found=found, expected="text in UTF-8") from error
    values = parse_yaml(str(path), text)
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise SpecError(file=str(path), found=f"a YAML {type(values).__name__}", expected="a mapping of keys to values")
    for override in overrides:
        _apply(values, override)
    return values


def validate_document(
    kind: type[_Spec], values: Mapping[str, Any], file: str | Path, overrides: Sequence[str] = ()
) -> _Spec:
    """Validate values against a model.

    Args:
        kind: The model.
        values: What ``read_values`` returned.
        file: Where they come from, for messages.
        overrides: Overrides among them, so that a message names the override and not the file.

    Raises:
        SpecError: If a key is unknown or a value is wrong.
    """
    try:
        spec = kind.model_validate(values)
    except ValidationError as error:
        faults: dict[str, DentgenError] = {}
        for found in error.errors():  # one for every kind of value that a key may have: the first says it best
            fault = _fault(kind, found, overrides)
            faults.setdefault(fault.key, fault)
        raise SpecError.of_faults(str(file), list(faults.values())) from error
    misread = [
        SpecError(key=_blamed(key, overrides), found=found, expected=expected)
        for key, found, expected in misread_scalars(values, spec)
    ]
    if misread:
        raise SpecError.of_faults(str(file), misread)
    return spec


def preview_spec(spec: BuildSpec, limit: int, *, beside: bool) -> BuildSpec:
    """The first records of a build; their images equal those of the full build.

    Args:
        spec: The build.
        limit: Number of records.
        beside: Write next to the build's output instead of into it, where the preview would block the build.
    """
    source = spec.source.model_copy(update={"limit": limit})
    path = f"{spec.output.path.rstrip('/')}-preview-{limit}/" if beside else spec.output.path
    output = spec.output.model_copy(update={"path": path})
    return spec.model_copy(update={"source": source, "output": output})


def spec_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Every key whose value differs, as ``a.b: old -> new``."""
    before, after = dict(_flatten(old)), dict(_flatten(new))
    return [
        f"{key}: {before.get(key, '(absent)')!r} -> {after.get(key, '(absent)')!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def parse_yaml(file: str, text: str) -> Any:
    """Plain values of one YAML 1.2 document: ``1e-4`` is a number, ``no`` is text, a repeated key is an error.

    Args:
        file: Where it comes from, for messages.
        text: The document.

    Raises:
        SpecError: If it is too large, no YAML, or aliases of it stand for too many values.
    """
    if len(text) > _MAX_BYTES:
        raise SpecError(file=file, found=f"{len(text)} characters", expected=f"at most {_MAX_BYTES}")
    try:
        values = yaml_reader().load(text)
        if _count(values, _MAX_VALUES) > _MAX_VALUES:
            raise SpecError(file=file, found=f"over {_MAX_VALUES} values, aliases expanded", expected="a spec")
        json.dumps(values, ensure_ascii=False, default=str, skipkeys=True).encode()  # broken Unicode fails here
    except (YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"not valid YAML: {error}", file=file) from error
    return values


def _count(values: Any, limit: int) -> int:
    """Number of values, counted to just over ``limit``: nested aliases can stand for billions."""
    if not isinstance(values, (dict, list, tuple, set)):
        return 1
    count = 1
    for value in values.values() if isinstance(values, dict) else values:
        if count > limit:
            break
        count += _count(value, limit - count)
    return count


def _apply(values: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    option = f"--set {override}"
    if not equals:
        raise SpecError(key=option, found="no '='", expected="SECTION.KEY=VALUE")
    *sections, key = path.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise SpecError(key=option, found=f"the value {values!r} at {section}", expected="a section")
    values[key] = text.strip() if _is_plain_text(text) else parse_yaml(option, text)


def _is_plain_text(text: str) -> bool:
    """Whether an override is a text that YAML would cut at a comment or split at a colon, outside quotes and braces."""
    is_yaml = text.lstrip().startswith(("{", "[", "'", '"', "!", "&", "*", "|", ">"))
    return not is_yaml and (" #" in text or ": " in text or text.strip().startswith("#") or text.strip().endswith(":"))


def _fault(kind: type[BaseModel], fault: ErrorDetails, overrides: Sequence[str]) -> DentgenError:
    """One wrong key; an override that set it is named as such."""
    parts = [part for part in map(str, fault["loc"]) if "[" not in part]  # pydantic names the members of a union, too
    key = _blamed(".".join(parts) or "spec", overrides)
    known = _known_keys(kind, fault["loc"][:-1]) if fault["type"] == "extra_forbidden" else None
    if known is not None:
        return SpecError(key=key, found="an unknown key", expected=f"one of {', '.join(known)}")
    if isinstance(fault["input"], str):
        fault["input"] = storage.without_secrets(fault["input"])
    message, found, expected = found_and_expected(fault)
    return SpecError(message, key=key, found=found, expected=expected)


def _blamed(key: str, overrides: Sequence[str]) -> str:
    """The key; an override that set it is named as such."""
    is_set = any(_within(override.partition("=")[0].strip(), key) for override in overrides)
    return f"--set {key}" if is_set else key


def _within(key: str, other: str) -> bool:
    """Whether one of two keys equals the other or lies in its section."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def _known_keys(kind: type[BaseModel], sections: Sequence[int | str]) -> list[str] | None:
    """Keys of a section, None where any key is allowed."""
    for name in sections:
        field = kind.model_fields.get(str(name))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return None
        kind = field.annotation
    return sorted(kind.model_fields)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, _LEAF):
            flat.append((prefix + key, value))
        else:
            flat += _flatten(value, f"{prefix}{key}.") or [(prefix + key, {})]
    return flat
