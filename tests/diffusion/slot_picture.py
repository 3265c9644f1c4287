"""Draws ``slots.svg`` with the engine's slot allocation: ``python -m tests.diffusion.slot_picture``."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import torch
from jinja2 import Template

from dentgen.diffusion.canvas import Canvas, ControlInput
from dentgen.diffusion.guidance import Guidance, GuidanceMethod
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.slots import SlotMap
from dentgen.models.bundle import find_bundle
from dentgen.seeding import NoiseKey
from dentgen.spec.sampling import SchedulerName
from tests.conftest import ROOT
from tests.diffusion.parts import table_of_folder

PICTURE = ROOT / "dentgen" / "diffusion" / "slots.svg"
SLOTS, CONTROL_SLOTS = 5, 3
NOTHING = torch.zeros(1, 1)
MINUS = "\N{MINUS SIGN}"
#: Canvas, condition, solver, steps, guidance.
PLAN: tuple[tuple[str, str, SchedulerName, int, GuidanceMethod | None], ...] = (
    ("A", "1", "unipc", 4, None),
    ("B", "1", "unipc", 4, None),
    ("C", "2", "unipc", 4, "full"),
    ("D", "3", "ddim", 6, "initialize"),
    ("E", "4", "lcm", 2, None),
    ("F", "4", "lcm", 2, None),
    ("G", "5", "euler", 5, None),
    ("H", "5", "euler", 5, None),
)
COLOURS = ("#4878a8", "#6a9bc9", "#b5651d", "#5b8c5a", "#8a5a9e", "#ab7fbf", "#a8484f", "#c9777c")

SVG = Template(
    """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{ width }} {{ height }}"
 font-family="sans-serif" font-size="12">
<rect width="{{ width }}" height="{{ height }}" fill="#ffffff"/>
{% for tick in range(ticks) -%}
<text x="{{ 112 + 64 * tick }}" y="16" text-anchor="middle" fill="#555555">tick {{ tick + 1 }}</text>
{% endfor -%}
{% for name, y in lines -%}
<text x="70" y="{{ y + 21 }}" text-anchor="end" fill="#333333">{{ name }}</text>
{% endfor -%}
{% for x, y, colour, opacity, label in cells -%}
<rect x="{{ x }}" y="{{ y }}" width="60" height="32" rx="3" fill="{{ colour }}" fill-opacity="{{ opacity }}"/>
<text x="{{ x + 30 }}" y="{{ y + 21 }}" text-anchor="middle"
 fill="{{ "#ffffff" if opacity == 1 else "#222222" }}">{{ label }}</text>
{% endfor -%}
</svg>
""",
    keep_trailing_newline=True,
)

Cell = tuple[int, int, str, float, str]


def canvases() -> list[Canvas]:
    folder = find_bundle("miniature")
    tables = {(name, steps): table_of_folder(folder, name, steps) for _, _, name, steps, _ in PLAN}
    return [
        Canvas(
            key, NoiseKey(0, key, 0), tables[name, steps], KeyedTensor("prompt", NOTHING),
            guidance=Guidance(2.0, method, KeyedTensor("negative", NOTHING)) if method else Guidance(),
            controls=(ControlInput("control", KeyedTensor(condition, NOTHING)),),
        )
        for key, condition, name, steps, method in PLAN
    ]  # fmt: skip


def trace() -> tuple[list[Cell], int]:
    """A cell for every occupied row slot and control slot of every tick, and the number of ticks."""
    slots, waiting, cells, tick = SlotMap(SLOTS, {"control": CONTROL_SLOTS}), deque(canvases()), list[Cell](), 0
    while waiting or slots.canvases:
        while waiting and slots.try_admit(waiting[0]):
            waiting.popleft()
        drawn = {}
        for flight in slots.flights():
            canvas, step = flight.canvas, flight.step
            colour = COLOURS[[name for name, *_ in PLAN].index(canvas.key)]
            rows = zip(flight.rows, flight.control["control"], canvas.rows(step), strict=True)
            for place, control, row in rows:
                negative = row.prompt.name == "negative"
                label = f"{canvas.key}{MINUS if negative else ''} {step + 1}/{canvas.table.num_steps}"
                cells.append((82 + 64 * tick, 24 + 36 * place, colour, 0.45 if negative else 1, label))
                condition = canvas.controls[0].condition.name
                drawn[control] = (f"map {condition}{MINUS if negative else ''}", colour)
        for control, (label, colour) in drawn.items():
            cells.append((82 + 64 * tick, 40 + 36 * (SLOTS + control), colour, 0.3, label))
        for flight in slots.flights():
            slots.advance(flight)
            if flight.done:
                slots.release(flight)
        tick += 1
    return cells, tick


def draw() -> str:
    cells, ticks = trace()
    lines = [(f"slot {n + 1}", 24 + 36 * n) for n in range(SLOTS)]
    lines += [(f"control {n + 1}", 40 + 36 * (SLOTS + n)) for n in range(CONTROL_SLOTS)]
    width, height = 90 + 64 * ticks, 48 + 36 * (SLOTS + CONTROL_SLOTS)
    return SVG.render(cells=cells, ticks=ticks, lines=lines, width=width, height=height)


if __name__ == "__main__":
    Path(PICTURE).write_text(draw())
