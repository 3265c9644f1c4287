"""The parameters file of an output folder: it keeps runs with other parameters from mixing their shards."""

from __future__ import annotations

import json
from collections.abc import Mapping

from dentgen import storage
from dentgen.errors import SpecError
from dentgen.shards.tar import json_bytes


def claim_parameters(out: str, name: str, wanted: Mapping[str, int | str | bool]) -> None:
    """Write a folder's parameters file, or check that an existing one holds the same parameters.

    Args:
        out: Folder or URL.
        name: Name of the parameters file in it.
        wanted: Everything that decides the folder's shards.

    Raises:
        SpecError: If the file holds other parameters, or no JSON.
    """
    place = storage.join(out, name)
    if storage.put_if_absent(place, json_bytes(wanted)):
        return
    content = storage.read_bytes(place)
    try:
        found = json.loads(content)
    except ValueError:
        found = content[:80].decode(errors="replace")
    if found != wanted:
        raise SpecError(file=place, found=found, expected=dict(wanted), advice="choose another folder")
