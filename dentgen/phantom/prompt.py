"""The prompt grammar of procedural jaws: "head, view, genre, shade, gum, findings..., light"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from dentgen.phantom.anatomy import Dentition
from dentgen.phantom.camera import View
from dentgen.phantom.findings import Findings
from dentgen.phantom.light import LightKind
from dentgen.phantom.material import GUM_LAB, SHADE_WORDS
from dentgen.phantom.surroundings.mix import Framing

Arch = Literal["both", "upper", "lower"]
ARCH_OF_VIEW: Final[dict[View, Arch]] = {
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
#: Genre of photographs that are taken from outside the mouth.
OUTSIDE_GENRE: Final = "extraoral dental photography"
_OUTSIDE: Final[tuple[Framing, ...]] = ("smile", "face")

RESTORATION_WORDS: Final[dict[str, str]] = {
    "amalgam": "amalgam filling", "composite": "tooth-coloured filling",
    "ceramic": "ceramic crown", "gold": "gold crown", "veneer": "veneer",
    "ceramic inlay": "ceramic inlay", "gold inlay": "gold inlay",
}  # fmt: skip
FRAMING_WORD: Final[dict[Framing, str]] = {
    "close-up": "close-up", "quadrant": "one side", "smile": "smile", "face": "lower face",
}  # fmt: skip
THING_WORD: Final[dict[str, str]] = {
    "dam": "rubber dam", "probe": "dental probe", "mirror": "dental mirror", "suction": "suction tube",
    "finger": "finger", "cotton": "cotton roll",
}  # fmt: skip
#: Words for lesions that no other phrase names.
LESION_WORD: Final[dict[str, str]] = {
    "white spot": "white spots", "cavity": "cavity", "fracture": "broken tooth", "calculus": "calculus",
}  # fmt: skip
SIGN_WORDS: Final = {"braces": "braces", "plaque": "plaque", "stain": "stained teeth"}

#: Phrase for a light of which nothing is known.
NEUTRAL_LIGHT: Final = "clinical lighting"


@dataclass(frozen=True, slots=True)
class SceneFacts:
    """What a prompt and the metadata say of a view, apart from its lighting.

    Attributes:
        view: Standard view.
        look: Photograph or scan model.
        dentition: Permanent or deciduous teeth.
        mirrored: Whether the picture was taken in a mirror.
        shade: Word for the tooth shade, from ``Material.shade_word``.
        gum: Word for the gum, from ``Material.gum_word``.
        findings: Missing teeth, restorations, caries, films and braces in the picture.
        framing: What a picture of a varied set takes in; None for the other sets, which know only their views.
        things: What lies before the teeth: keys of ``THING_WORD``.
        lesions: Visible values of ``lesion_map.LESIONS``, as words.
        seen_arch: Which teeth a picture of a varied set shows; None for the other sets, whose views decide it.
    """

    view: View
    look: Look
    dentition: Dentition
    mirrored: bool
    shade: str
    gum: str
    findings: Findings
    framing: Framing | None = None
    things: tuple[str, ...] = ()
    lesions: tuple[str, ...] = ()
    seen_arch: Arch | None = None

    @property
    def arch(self) -> Arch:
        """Which teeth the picture shows."""
        return self.seen_arch or ARCH_OF_VIEW[self.view]

    @property
    def genre(self) -> str:
        """Where the picture is taken from."""
        return OUTSIDE_GENRE if self.framing in _OUTSIDE else GENRE[self.look]

    @property
    def attributes(self) -> dict[str, str | int]:
        """The facts under their metadata names; counts are integers, everything else is a word."""
        return {
            "view": self.view,
            "arch": self.arch,
            "look": self.look,
            "dentition": self.dentition,
            "shade": self.shade,
            "gum": self.gum,
            **self.findings.counts,
            **self.findings.signs,
            "mirrored": "yes" if self.mirrored else "no",
            **({} if self.framing is None else self._varied_attributes(self.framing)),
        }

    def _varied_attributes(self, framing: Framing) -> dict[str, str | int]:
        return {
            "framing": framing,
            "things": ", ".join(self.things) or "none",
            "lesions": ", ".join(self.lesions) or "none",
        }


def scene_prompt(facts: SceneFacts, light: LightKind) -> str:
    """Compose the prompt of a scene: look, arch and view first (the most important words), findings, the light last."""
    teeth = "teeth" if facts.dentition == "permanent" else "milk teeth"
    light_word = LIGHT_WORD if facts.look == "photo" else SCAN_LIGHT_WORD
    view = f"{VIEW_WORD[facts.view]} view{' in a mirror' if facts.mirrored else ''}"
    head = f"{LOOK_WORD[facts.look]} of {facts.arch} {teeth}"
    colours = (f"{facts.shade} teeth", f"{facts.gum} gums")
    found = (*_finding_phrases(facts.findings), *_varied_phrases(facts))
    return ", ".join((head, view, facts.genre, *colours, *found, light_word[light]))


def _varied_phrases(facts: SceneFacts) -> list[str]:
    """Phrases for framing, things before the teeth and lesions of a varied set's picture."""
    framing = [FRAMING_WORD[facts.framing]] if facts.framing in FRAMING_WORD else []
    lesions = [LESION_WORD[name] for name in facts.lesions if name in LESION_WORD]
    return framing + [THING_WORD[thing] for thing in facts.things] + lesions


def _finding_phrases(findings: Findings) -> list[str]:
    """Phrases for the findings that are present; absent ones are not mentioned."""
    missing, caries = findings.counts["missing_teeth"], findings.counts["caries"]
    phrases = [RESTORATION_WORDS[kind] for kind in findings.restorations]
    phrases += ["missing tooth" if missing == 1 else "missing teeth"] * (missing > 0) + ["caries"] * (caries > 0)
    return phrases + [word for sign, word in SIGN_WORDS.items() if findings.signs[sign] == "yes"]


def replace_light_words(prompt: str, light: str) -> str:
    """Replace the phrases that name a light by ``NEUTRAL_LIGHT``, for a record whose lighting map was replaced.

    Args:
        prompt: Phrases separated by ", ".
        light: The record's ``lighting`` attribute: a ``LightKind``, or any other word, of which "WORD flash",
            "WORD light" and "WORD lighting" are replaced; "" if unknown, which changes nothing.
    """
    replaced = {f"{light} {word}" for word in ("flash", "light", "lighting")} if light else set()
    replaced |= {words[kind] for words in (LIGHT_WORD, SCAN_LIGHT_WORD) for kind in words if kind == light}
    return ", ".join(NEUTRAL_LIGHT if phrase in replaced else phrase for phrase in prompt.split(", "))


def phantom_phrases(prompt: str) -> tuple[str, ...] | None:
    """Split the prompt of a phantom into its phrases: head, view and genre, then attributes in any number and order.

    Returns:
        The phrases, or None for text that this grammar cannot have composed, such as a foreign caption.
    """
    phrases = tuple(prompt.split(", "))
    if len(phrases) < 3:
        return None
    *leading, genre = phrases[:3]
    is_phantom = leading[0] in _HEADS and leading[1] in _VIEWS and genre in _GENRES
    return phrases if is_phantom and _ATTRIBUTES.issuperset(phrases[3:]) else None


_HEADS: Final = frozenset(
    f"{look} of {arch} {teeth}"
    for look in LOOK_WORD.values()
    for arch in ARCH_OF_VIEW.values()
    for teeth in ("teeth", "milk teeth")
)
_GENRES: Final = frozenset({*GENRE.values(), OUTSIDE_GENRE})
_VIEWS: Final = frozenset(f"{view} view{mirror}" for view in VIEW_WORD.values() for mirror in ("", " in a mirror"))
_ATTRIBUTES: Final = frozenset({
    *(f"{shade} teeth" for shade in SHADE_WORDS), *(f"{gum} gums" for gum in (*GUM_LAB, "inflamed")),
    *RESTORATION_WORDS.values(), "missing tooth", "missing teeth", "caries", *SIGN_WORDS.values(),
    *FRAMING_WORD.values(), *THING_WORD.values(), *LESION_WORD.values(),
    *LIGHT_WORD.values(), *SCAN_LIGHT_WORD.values(), NEUTRAL_LIGHT,
})  # fmt: skip
