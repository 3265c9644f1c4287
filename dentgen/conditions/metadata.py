"""Metadata of condition records (``KEY.json``), parsed alike for planning and generation."""

from __future__ import annotations

import json
from typing import Final

from pydantic import ValidationError

from dentgen.documents import ConditionMetadata
from dentgen.errors import ConditionError

#: Parsed JSON takes about twenty times its size in memory.
MAX_METADATA_BYTES: Final = 2**20


def read_metadata(place: str, content: bytes | None) -> ConditionMetadata:
    """Parse a record's metadata.

    Args:
        place: The record's name in error messages.
        content: Content of ``KEY.json``; None, if the record has none, gives empty metadata.

    Raises:
        ConditionError: If it is too large, not a JSON object, or a known field is not a string.
    """
    if content is None:
        return ConditionMetadata()
    if len(content) > MAX_METADATA_BYTES:
        raise ConditionError(f"{place}.json", f"{len(content)} bytes", f"at most {MAX_METADATA_BYTES} bytes")
    try:
        return ConditionMetadata.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        found = f"{field}: {first['msg']}" if field else first["msg"]
        raise ConditionError(f"{place}.json", found, "a JSON object of strings") from error


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
