"""Prompts that say what is in a scene. Refuses to know how it was rendered."""

from __future__ import annotations

from typing import Final, Literal, get_args

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


Look = Literal["photo", "scan"]
LOOKS: Final[tuple[Look, ...]] = get_args(Look)
LOOK_WORD: Final[dict[Look, str]] = {"photo": "a photo", "scan": "a scan model"}
SCAN_LIGHT_WORD: Final[dict[LightKind, str]] = {
    "ring": "frontal light", "twin": "light from both sides", "overhead": "overhead light", "side": "side light",
}  # fmt: skip
GENRE: Final[dict[Look, str]] = {"photo": "intraoral dental photography", "scan": "dental cast render"}


def scene_prompt(view: View, shade: str, gum: str, light: LightKind, look: Look = "photo") -> str:
    """The prompt of a scene: look, arch and view first (the most important words), then shade, gum and light."""
    light_word = LIGHT_WORD if look == "photo" else SCAN_LIGHT_WORD
    return (
        f"{LOOK_WORD[look]} of {ARCH_OF_VIEW[view]} teeth, {VIEW_WORD[view]} view, {GENRE[look]}, "
        f"{shade} teeth, {gum} gums, {light_word[light]}"
    )
