"""Licenses of a bundle's weights: what model cards and headers of the chosen parts declare."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import yaml
from huggingface_hub.repocard import metadata_load
from safetensors import SafetensorError, safe_open

from dentgen.models.bundle_files import CARD, loaded_files
from dentgen.models.embeddings import SUFFIX
from dentgen.models.parts import ADAPTERS, CONTROLNETS, EMBEDDINGS, LORAS
from dentgen.models.restricted_use import known_identifier
from dentgen.redaction import escaped
from dentgen.spec.model import ModelSpec

_LOG = logging.getLogger(__name__)
#: Key of a safetensors header, https://github.com/Stability-AI/ModelSpec.
HEADER_KEY: Final = "modelspec.license"
_MAX_CARD: Final = 2**20
_MAX_LENGTH: Final = 100


def bundle_licenses(model: ModelSpec, folder: Path) -> tuple[str, ...]:
    """The licenses that a bundle's own model card and the cards or headers of the chosen parts declare.

    Args:
        model: The chosen parts.
        folder: Local folder of the bundle.

    Returns:
        Distinct licenses, sorted, identifiers in lower case; empty if none is declared.
    """
    chosen: dict[str, Iterable[str]] = {ADAPTERS: model.adapters, CONTROLNETS: model.controlnets, LORAS: model.loras}
    parts = [f"{kind}/{name}" for kind, names in chosen.items() for name in names]
    declared = [text for part in (".", *parts) for text in _of_card(folder / part / CARD)]
    weights = [*parts, *(f"{EMBEDDINGS}/{name}{SUFFIX}" for name in model.embeddings)]
    files = [file for part in weights for file in loaded_files(folder, part) if file.suffix == SUFFIX]
    return tuple(sorted({known_identifier(text) for text in (*declared, *map(license_of_header, files)) if text}))


def card_of(license: str) -> str:
    """A model card that declares a license.

    Args:
        license: A hub or SPDX identifier such as ``creativeml-openrail-m``, or another name.
    """
    return f"---\n{yaml.safe_dump({'license': license.strip()}, allow_unicode=True)}---\n"


def _of_card(file: Path) -> list[str]:
    """The licenses in a card's front matter."""
    try:
        if not file.is_file() or file.stat().st_size > _MAX_CARD:
            return []
        head = metadata_load(file) or {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        _LOG.warning("%s: the model card cannot be read, so that its license is unknown: %s", file, error)
        return []
    return list(_identifiers(head))


def _identifiers(head: Mapping[str, object]) -> Iterator[str]:
    """One or several licenses of a front matter; ``other`` has a name of its own."""
    declared = head.get("license")
    for text in declared if isinstance(declared, list) else [declared]:
        if text == "other":
            text = head.get("license_name", text)  # noqa: PLW2901
        if isinstance(text, str) and text.strip():
            yield _shortened(text)


def license_of_header(file: Path) -> str:
    """The license that a safetensors file declares, "" if it declares none or cannot be read."""
    try:
        with safe_open(file, "pt") as tensors:
            return _shortened((tensors.metadata() or {}).get(HEADER_KEY, ""))
    except (OSError, SafetensorError):
        return ""  # loading the part reports the fault


def _shortened(text: str) -> str:
    return escaped(" ".join(text.split()))[:_MAX_LENGTH]
