"""A build spec as the pods of a cluster read it: without places of this machine, without secrets."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from dentgen import storage
from dentgen.errors import DentgenError, SpecError
from dentgen.redaction import redacted
from dentgen.spec.build import BuildSpec
from dentgen.spec.quality import EMBEDDED as EMBEDDED_JUDGES

_EMBEDDED: Final = "miniature"
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
#: A store that every process has its own of.
_PRIVATE: Final = "memory://"


def portable_spec(spec: BuildSpec, file: str | Path) -> str:
    """The keys that a spec sets, as YAML that reads back to an equal spec; equal specs give equal text.

    Args:
        spec: The spec, whose paths are resolved.
        file: Where it comes from, for messages.

    Raises:
        SpecError: If a place is not on storage that pods reach, or a value holds a secret; ``faults`` names every key.
    """
    values = spec.model_dump(mode="json", exclude_unset=True)
    faults = [*_local_places(spec), *_secrets(values)]
    if faults:
        raise SpecError.of_faults(str(file), faults)
    text = io.StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style, writer.allow_unicode, writer.width = None, True, 120
    writer.dump(values, text)
    return text.getvalue()


def _local_places(spec: BuildSpec) -> Iterator[DentgenError]:
    places = {"source.path": spec.source.path, "output.path": spec.output.path}
    if not _is_named(spec.model.bundle):
        places["model.bundle"] = spec.model.bundle
    if (gate := spec.quality.gate) is not None:
        named = {"quality.gate.judges": gate.judges, "quality.gate.reference": gate.reference}
        places |= {key: place for key, place in named.items() if place != EMBEDDED_JUDGES}
    for key, place in places.items():
        if not storage.is_remote(place) or place.startswith(_PRIVATE):
            yield SpecError(key=key, found=place, expected="a URL such as s3://BUCKET/PREFIX, which every pod reaches")


def _is_named(bundle: str) -> bool:
    """Whether a bundle is found by its name: the embedded one, or one of the hub."""
    on_hub = _HUB_ID.fullmatch(bundle) is not None and not Path(bundle).exists()
    return bundle == _EMBEDDED or on_hub


def _secrets(values: dict[str, Any]) -> Iterator[DentgenError]:
    for key, text in _texts(values):
        if redacted(text) != text:
            yield SpecError(key=key, found=text, expected="no secret: pods get credentials from their service account")


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text among values, with its key as a.b.0."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, (dict, list)):
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(part, f"{key}.{name}" if key else str(name))
