"""Metadata of condition records (``KEY.json``), parsed alike for planning and generation."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json

from dentgen.conditions.readers.raw import short
from dentgen.documents.conditions import ConditionMetadata, FrameMetadata
from dentgen.errors import ConditionError, found_and_expected
from dentgen.records import Frame

#: Parsed JSON takes about twenty times its size in memory.
MAX_METADATA_BYTES: Final = 2**20
_FRAME: Final = tuple(FrameMetadata.model_fields)


def read_metadata(place: str, content: bytes | None) -> ConditionMetadata:
    """Parse a record's metadata.

    Args:
        place: The record's name in error messages.
        content: Content of ``KEY.json``; None, if the record has none, gives empty metadata.

    Raises:
        ConditionError: If it is too large, not a JSON object, or a known field is not a text of bounded length.
    """
    if content is None:
        return ConditionMetadata()
    file = f"{place}.json"
    if len(content) > MAX_METADATA_BYTES:
        raise ConditionError(file, f"{len(content)} bytes", f"at most {MAX_METADATA_BYTES} bytes")
    try:
        return ConditionMetadata.model_validate(_parsed(content))
    except ValidationError as error:
        first = error.errors()[0]
        message, found, expected = found_and_expected(first)
        field = ".".join(map(str, first["loc"]))
        raise ConditionError(file, short(f"{field or 'JSON'}: {found}"), expected or message) from error
    except ValueError as error:
        raise ConditionError(file, short(str(error)), "a JSON object in UTF-8, every name once") from error


def frame_of(place: str, metadata: ConditionMetadata) -> Frame | None:
    """A record's place in a series, None if it belongs to none.

    Args:
        place: The record's name in error messages.
        metadata: Its metadata, whose series and frame are not checked yet.

    Raises:
        ConditionError: If they name only one of series and frame, or either is no name or number.
    """
    given = {name: value for name in _FRAME if (value := getattr(metadata, name)) not in ("", None)}
    if not given:
        return None
    try:
        checked = FrameMetadata.model_validate(given)
    except ValidationError as error:
        raise _frame_error(f"{place}.json", given, error.errors()[0]) from error
    return Frame(checked.series, checked.frame)


def names_frame(metadata: ConditionMetadata) -> bool:
    """Whether metadata name both a series and a frame; software of others writes one of them for its own ends."""
    return all(getattr(metadata, name) not in ("", None) for name in _FRAME)


def _frame_error(file: str, given: Mapping[str, Any], fault: ErrorDetails) -> ConditionError:
    if fault["type"] == "missing":
        found = ", ".join(f"{name} {value!r}" for name, value in given.items())
        return ConditionError(file, short(f"{found} alone"), "series and frame, both or neither")
    message, found, expected = found_and_expected(fault)
    return ConditionError(file, short(f"{fault['loc'][0]}: {found}"), expected or message)


def _parsed(content: bytes) -> Any:
    """Values of a JSON document.

    Raises:
        ValueError: If it is no JSON in UTF-8, nested too deep, has NaN, infinite or huge numbers, half characters, or a
            name twice.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:4]:
        raise ValueError("UTF-16 text")
    text = content.removeprefix(codecs.BOM_UTF8)
    # the parser of pydantic limits depth and checks Unicode, that of Python sees names that come twice
    from_json(text, allow_inf_nan=False)
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(name for name in names if names.count(name) > 1)!r} twice")
    return found


def split_and_attributes(content: bytes | None) -> tuple[str | None, str]:
    """Return the split and the attributes, as JSON, that a record's metadata name.

    Unreadable metadata give ``(None, "{}")``: the record stays in the plan and is rejected, with a reason, when it is
    read.
    """
    try:
        metadata = read_metadata("", content)
    except ConditionError:
        return None, "{}"
    return metadata.split, json.dumps(metadata.attributes, sort_keys=True)
