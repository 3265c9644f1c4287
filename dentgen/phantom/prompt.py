"""Prompts that say what is in a scene. Refuses to know how it was rendered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from dentgen.phantom.anatomy import Dentition
from dentgen.phantom.camera import View
from dentgen.phantom.findings import Findings
from dentgen.phantom.light import LightKind

ARCH_OF_VIEW: Final[dict[View, str]] = {
    "frontal": "both", "left": "both", "right": "both", "upper-occlusal": "upper", "lower-occlusal": "lower",
}  # fmt: skip
VIEW_WORD: Final[dict[View, str]] = {
    "frontal": "front", "left": "left", "right": "right", "upper-occlusal": "top", "lower-occlusal": "bottom",
}  # fmt: skip
LIGHT_WORD: Final[dict[LightKind, str]] = {
    "ring": "ring flash", "twin": "twin flash", "overhead": "overhead light", "side": "side light",
    "soft": "soft light", "harsh": "harsh light",
}  # fmt: skip


Look = Literal["photo", "scan"]
LOOKS: Final[tuple[Look, ...]] = get_args(Look)
LOOK_WORD: Final[dict[Look, str]] = {"photo": "a photo", "scan": "a scan model"}
SCAN_LIGHT_WORD: Final[dict[LightKind, str]] = {
    "ring": "frontal light", "twin": "light from both sides", "overhead": "overhead light", "side": "side light",
    "soft": "soft light", "harsh": "harsh light",
}  # fmt: skip
GENRE: Final[dict[Look, str]] = {"photo": "intraoral dental photography", "scan": "dental cast render"}


RESTORATION_WORDS: Final[dict[str, str]] = {
    "amalgam": "amalgam filling", "composite": "tooth-coloured filling",
    "ceramic": "ceramic crown", "gold": "gold crown",
}  # fmt: skip


SIGN_WORDS: Final = {"braces": "braces", "plaque": "plaque", "stain": "stained teeth"}


@dataclass(frozen=True, slots=True)
class SceneFacts:
    """What can be said of a view before any lamp is lit; ``shade`` and ``gum`` are facts."""

    view: View
    look: Look
    dentition: Dentition
    mirrored: bool
    shade: str
    gum: str
    findings: Findings

    @property
    def attributes(self) -> dict[str, str | int]:
        """All of it under the names that metadata use."""
        return {
            "view": self.view,
            "arch": ARCH_OF_VIEW[self.view],
            "look": self.look,
            "dentition": self.dentition,
            "shade": self.shade,
            "gum": self.gum,
            **self.findings.counts,
            **self.findings.signs,
            "mirrored": "yes" if self.mirrored else "no",
        }


def scene_prompt(facts: SceneFacts, light: LightKind) -> str:
    """The prompt of a scene: look, arch and view first (the most important words), findings, the light last."""
    teeth = "teeth" if facts.dentition == "permanent" else "milk teeth"
    light_word = LIGHT_WORD if facts.look == "photo" else SCAN_LIGHT_WORD
    view = f"{VIEW_WORD[facts.view]} view{' in a mirror' if facts.mirrored else ''}"
    head = f"{LOOK_WORD[facts.look]} of {ARCH_OF_VIEW[facts.view]} {teeth}"
    colours = (f"{facts.shade} teeth", f"{facts.gum} gums")
    return ", ".join((head, view, GENRE[facts.look], *colours, *_told(facts.findings), light_word[light]))


def _told(findings: Findings) -> list[str]:
    """Phrases for what the picture shows; nothing is said of what it does not."""
    missing, caries = findings.counts["missing_teeth"], findings.counts["caries"]
    phrases = [RESTORATION_WORDS[kind] for kind in findings.restorations]
    phrases += ["missing tooth" if missing == 1 else "missing teeth"] * (missing > 0) + ["caries"] * (caries > 0)
    return phrases + [word for sign, word in SIGN_WORDS.items() if findings.signs[sign] == "yes"]
