"""What an engine of a given shape refuses, limit by limit; tests of the engine refuse the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from dentgen.diffusion.canvas import Canvas, ControlInput
from dentgen.diffusion.canvas_checks import check_canvas, check_changed
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.networks import Branches, EngineShape
from dentgen.diffusion.regions import Layers, Region
from dentgen.diffusion.windows import cover
from dentgen.errors import CanvasError
from dentgen.models.bundle import find_bundle
from dentgen.seeding import NoiseKey
from tests.diffusion.parts import table_of_folder
from tests.diffusion.toy_networks import TOKENS, WIDTH, TwoLevelControl, words

SIZE = 16
SHAPE = EngineShape(3, 2, (SIZE, SIZE), TOKENS, WIDTH, columns=6, regions=1)
BRANCHES = Branches(shared={"control": TwoLevelControl()})
FULL = Region(words(1), torch.ones(SIZE, SIZE))


def canvas(**more: Any) -> Canvas:
    table = table_of_folder(find_bundle("miniature"), "unipc", 3)
    return Canvas(**{"key": "c", "noise": NoiseKey(0, "c", 0), "table": table, "prompt": words(0), **more})


def shown(branch: str = "control", **more: Any) -> tuple[ControlInput, ...]:
    return (ControlInput(branch, KeyedTensor("shown", torch.zeros(4, SIZE, SIZE)), **more),)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"controls": shown("other")}, "control branch other"),
        ({"controls": shown(where=torch.ones(SIZE, SIZE))}, "scales by place"),
        ({"prompt": KeyedTensor("long", torch.zeros(TOKENS + 1, WIDTH))}, f"shape {(TOKENS + 1, WIDTH)}"),
        ({"layers": Layers((FULL, FULL))}, 2),
        ({"windows": cover((SIZE, SIZE), (SIZE, 8))}, f"shape {(SIZE, 8)}"),
        ({"windows": cover((SIZE, SIZE), (SIZE, SIZE))}, 1),
        ({"image": torch.zeros(4, 8, 8)}, "shape (4, 8, 8)"),
        ({"table": table_of_folder(find_bundle("miniature"), "unipc", 8)}, 9),
    ],
)
def test_limits_of_the_engine(changes: dict[str, Any], found: object) -> None:
    check_canvas(canvas(controls=shown()), SHAPE, BRANCHES)
    with pytest.raises(CanvasError) as caught:
        check_canvas(canvas(**changes), SHAPE, BRANCHES)
    assert (caught.value.key, caught.value.found) == ("c", found)


def test_new_layers_must_cover_a_background_without_a_row_from_their_step_on() -> None:
    late = replace(FULL, start=0.5)
    sample = canvas(layers=Layers((late,), background=False))
    check_changed(sample, SHAPE, Branches(), 2)
    check_changed(replace(sample, layers=Layers((late,))), SHAPE, Branches(), 0)
    with pytest.raises(CanvasError) as caught:
        check_changed(sample, SHAPE, Branches(), 0)
    assert (caught.value.key, caught.value.message) == ("c", "layers")
