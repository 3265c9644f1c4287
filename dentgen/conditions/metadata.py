"""A condition record's ``KEY.json``. Planning and generating read it here, so that they agree on splits.

Refuses to know images.
"""

from __future__ import annotations

import json
from typing import Final

from pydantic import ValidationError

from dentgen.documents import ConditionMetadata
from dentgen.errors import ConditionError

#: Parsed, JSON takes twenty times its bytes.
MAX_METADATA_BYTES: Final = 2**20


def read_metadata(place: str, content: bytes | None) -> ConditionMetadata:
    """Metadata of a record; a record without any has none to say.

    Raises:
        ConditionError: If it is no JSON object, or a field that matters is no text.
    """
    if content is None:
        return ConditionMetadata()
    if len(content) > MAX_METADATA_BYTES:
        raise ConditionError(f"{place}.json", f"{len(content)} bytes", f"at most {MAX_METADATA_BYTES}")
    try:
        return ConditionMetadata.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConditionError(f"{place}.json", f"{where} {first['msg']}".strip(), "a JSON object of texts") from error


def split_and_attributes(content: bytes | None) -> tuple[str | None, str]:
    """Split and attributes (as JSON) that a record's metadata name.

    None and no attributes where they cannot be read: such a record is rejected where everyone can see it.
    """
    try:
        metadata = read_metadata("", content)
    except ConditionError:
        return None, "{}"
    return metadata.split, json.dumps(metadata.attributes, sort_keys=True)
