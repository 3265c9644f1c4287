"""Licenses of a bundle's weights, and which of them restrict what generated images may be used for."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import yaml
from huggingface_hub.repocard import metadata_load
from safetensors import SafetensorError, safe_open

from dentgen.models.bundle_files import CARD, loaded_files
from dentgen.models.embeddings import SUFFIX
from dentgen.models.parts import ADAPTERS, CONTROLNETS, EMBEDDINGS, LORAS
from dentgen.redaction import escaped
from dentgen.spec.build import ModelSpec

#: Licenses that bind users of a model's output to restrictions on use, by hub identifier, and where these are listed.
#: Identifiers: https://huggingface.co/docs/hub/repositories-licenses.
RESTRICTED_USE: Final[Mapping[str, str]] = {
    "creativeml-openrail-m": "https://huggingface.co/spaces/CompVis/stable-diffusion-license",
    "openrail": "https://www.licenses.ai/ai-licenses",
    "openrail++": "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md",
    "bigscience-openrail-m": "https://bigscience.huggingface.co/blog/bigscience-openrail-m",
    "bigscience-bloom-rail-1.0": "https://huggingface.co/spaces/bigscience/license",
    "bigcode-openrail-m": "https://huggingface.co/spaces/bigcode/bigcode-model-license-agreement",
}
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
    return tuple(sorted({_identified(text) for text in (*declared, *map(license_of_header, files)) if text}))


def use_restrictions(licenses: Iterable[str]) -> tuple[str, ...]:
    """Where the restrictions are listed that licenses of weights put on the use of generated images; sorted URLs."""
    return tuple(sorted({RESTRICTED_USE[text] for text in licenses if text in RESTRICTED_USE}))


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


def _identified(text: str) -> str:
    """The hub's identifier of a license that restricts use, in whichever way it is written; others as they are."""
    plain = re.sub(r"[^a-z0-9+]+", "", text.lower()).removesuffix("license")
    return next((known for known in RESTRICTED_USE if plain in _spellings(known)), text)


def _spellings(identifier: str) -> set[str]:
    """Spellings of an identifier without spaces and dashes, such as that of "CreativeML Open RAIL-M"."""
    plain = re.sub(r"[^a-z0-9+]+", "", identifier)
    longer = {"openrail++": {"creativemlopenrail++m", "openrail++m"}, "creativeml-openrail-m": {"openrailm"}}
    return {plain, *longer.get(identifier, ())}
