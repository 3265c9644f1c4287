"""Prompts that say what is in a scene. Refuses to know how it was rendered."""

from __future__ import annotations

from typing import Final

from dentgen.conditions.phantom.camera import View
from dentgen.conditions.phantom.light import LightKind

ARCH_OF_VIEW: Final[dict[View, str]] = {
    "frontal": "both", "left": "both", "right": "both", "upper-occlusal": "upper", "lower-occlusal": "lower",
}  # fmt: skip
VIEW_WORD: Final[dict[View, str]] = {
    "frontal": "front", "left": "left", "right": "right", "upper-occlusal": "top", "lower-occlusal": "bottom",
}  # fmt: skip
LIGHT_WORD: Final[dict[LightKind, str]] = {
    "ring": "ring flash", "twin": "twin flash", "overhead": "overhead light", "side": "side light",
}  # fmt: skip


def scene_prompt(view: View, shade: str, gum: str, light: LightKind) -> str:
    """The prompt of a scene: arch and view first (the most important words), then shade, gum and light."""
    return (
        f"a photo of {ARCH_OF_VIEW[view]} teeth, {VIEW_WORD[view]} view, intraoral dental photography, "
        f"{shade} teeth, {gum} gums, {LIGHT_WORD[light]}"
    )
