"""The table of segmentation classes and the charts of FDI tooth numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dentgen.conditions.label_schemes import ARCH_ORDER
from dentgen.conditions.labels import DRAWN_CLASSES, SEG_CLASSES

#: What belongs to each class.
_EXTENT: Final = {
    "background": "Everything that no other class names, such as the ground of a scan.",
    "gingiva": "Gum and palate.",
    "tooth": "Teeth, with plaque, stain and decay on them.",
    "other soft tissue": "Cheeks, tongue and floor of the mouth, where a source labels them; in some also lips.",
    "restoration": "Fillings and crowns of any material.",
    "appliance": "Brackets, ligatures and wires.",
    "lip or skin": "Lips, the skin of faces, fingers and gloves, where a source labels them.",
    "instrument": "Probes, mirrors, suction tubes, cotton rolls, where a source labels them.",
    "rubber dam": "Rubber dam, where a source labels it.",
    "ignore": "Undecided pixels: neither trained on nor counted.",
}


def class_table() -> str:
    """Value, name, colour and extent of every segmentation class."""
    lines = ["| value | class | colour | covers |", "|---|---|---|---|"]
    for value, name in SEG_CLASSES.items():
        lines.append(f"| {value} | {name} | {_swatch(DRAWN_CLASSES.get(value))} | {_EXTENT[name]} |")
    return "\n".join(lines)


def fdi_charts() -> str:
    """FDI numbers of permanent and deciduous teeth as they appear in a frontal view."""
    permanent = [ARCH_ORDER["upper"], ARCH_ORDER["lower"]]
    deciduous = [[*_halves(5, 6)], [*_halves(8, 7)]]
    return "\n".join([*_chart("permanent", permanent), "", *_chart("deciduous", deciduous)])


def _halves(right: int, left: int) -> list[int]:
    return [10 * right + n for n in range(5, 0, -1)] + [10 * left + n for n in range(1, 6)]


def _chart(name: str, arches: Sequence[Sequence[int]]) -> list[str]:
    half = len(arches[0]) // 2
    rows = [" ".join(map(str, arch[:half])) + " | " + " ".join(map(str, arch[half:])) for arch in arches]
    width = len(rows[0])
    title = f"{name}: the patient's right is at the left"
    return ["```text", title, "", rows[0], "-" * width, rows[1], "```"]


def _swatch(colour: tuple[int, int, int] | None) -> str:
    if colour is None:
        return "none"
    code = "#{:02x}{:02x}{:02x}".format(*colour)
    return f'<span class="swatch" style="background: {code}"></span> `{code}`'
