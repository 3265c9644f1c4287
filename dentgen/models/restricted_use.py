"""Licenses of weights that restrict what images may be used for; imports little, because light commands need it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

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


def use_restrictions(licenses: Iterable[str]) -> tuple[str, ...]:
    """Where the restrictions are listed that licenses of weights put on the use of generated images; sorted URLs."""
    return tuple(sorted({RESTRICTED_USE[text] for text in licenses if text in RESTRICTED_USE}))


def known_identifier(text: str) -> str:
    """The hub's identifier of a license that restricts use, in whichever way it is written; others as they are."""
    plain = re.sub(r"[^a-z0-9+]+", "", text.lower()).removesuffix("license")
    return next((known for known in RESTRICTED_USE if plain in _spellings(known)), text)


def _spellings(identifier: str) -> set[str]:
    """Spellings of an identifier without spaces and dashes, such as that of "CreativeML Open RAIL-M"."""
    plain = re.sub(r"[^a-z0-9+]+", "", identifier)
    longer = {"openrail++": {"creativemlopenrail++m", "openrail++m"}, "creativeml-openrail-m": {"openrailm"}}
    return {plain, *longer.get(identifier, ())}
