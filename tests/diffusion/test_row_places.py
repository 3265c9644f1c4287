"""Windows in the engine: what they equal, what they leave alone, together with regions, control and guidance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dentgen.diffusion.canvas import Canvas, ControlInput, Repaint
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.diffusion.guidance import Guidance
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.networks import Branches, EngineShape
from dentgen.diffusion.regions import Layers, Region
from dentgen.diffusion.solver import SolverTable
from dentgen.diffusion.window_grid import Size
from dentgen.diffusion.windows import cover
from dentgen.errors import CanvasError
from dentgen.models.bundle import Bundle
from dentgen.seeding import NoiseKey
from tests.diffusion.parts import latents, relative_error, table_of
from tests.diffusion.toy_networks import TOKENS, WIDTH, LocalDenoiser, TwoLevelControl, words

SIZE: Size = (16, 40)
WINDOW: Size = (16, 16)


class PointDenoiser:
    """Every latent on its own, moved by the prompt: windows cannot matter."""

    def __call__(self, x: Tensor, timesteps: Tensor, prompts: Tensor, residuals: Any = None) -> Tensor:
        shift = prompts.mean((1, 2))[:, None, None, None] + timesteps.to(x)[:, None, None, None] / 1000
        added = 0 if residuals is None else residuals[0][:, :4]
        return torch.tanh(0.7 * x + shift) + added


@pytest.fixture(scope="module")
def table(miniature: Bundle) -> SolverTable:
    return table_of(miniature, "unipc", 3)


def run(canvases: list[Canvas], unet: Any, window: Size | None = WINDOW, slots: int = 24) -> dict[str, Tensor]:
    shape = EngineShape(
        slots, slots, SIZE, TOKENS, WIDTH, columns=12, weighted=True, regions=2, window=window, windows=4
    )
    branches = Branches(shared={"control": TwoLevelControl()})
    engine = DiffusionEngine(unet, branches, shape, torch.device("cpu"), torch.float32)
    return {key: latents(found) for key, found in engine.run(canvases).items()}


def canvas(table: SolverTable, number: int = 0, **more: Any) -> Canvas:
    values = {
        "key": f"c{number}", "noise": NoiseKey(3, f"r{number}", 0), "table": table, "prompt": words(number),
        "windows": cover(SIZE, WINDOW),
    }  # fmt: skip
    return Canvas(**{**values, **more})


def condition() -> ControlInput:
    values = torch.randn(4, *SIZE, generator=torch.Generator().manual_seed(1))
    where = torch.linspace(0, 2, SIZE[0] * SIZE[1]).view(SIZE)
    return ControlInput("control", KeyedTensor("map", values), 0.3, where=where)


def region(left: int, right: int, number: int) -> Region:
    mask = torch.zeros(SIZE)
    mask[:, left:right] = 1
    return Region(words(number), mask)


@pytest.mark.parametrize("guidance", [Guidance(), Guidance(2.0, "full", words(9)), Guidance(1.3, "self")])
def test_windows_do_not_matter_to_a_network_that_sees_points(table: SolverTable, guidance: Guidance) -> None:
    """With control by place, regions and a kept part: equal to the whole canvas up to rounding."""
    layers = Layers.of([region(0, 13, 1), region(10, 31, 2)], table)
    image = torch.randn(4, *SIZE, generator=torch.Generator().manual_seed(2))
    keep = torch.zeros(SIZE, dtype=torch.bool)
    keep[4:7] = True
    full = canvas(
        table, guidance=guidance, controls=(condition(),), layers=layers, image=image, repaint=Repaint(keep)
    )  # fmt: skip
    whole = replace(full, windows=())
    found = run([full], PointDenoiser(), slots=32)["c0"]
    expected = run([whole], PointDenoiser(), window=None)["c0"]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(found[:, keep], image[:, keep])


def test_one_window_is_the_whole_canvas_exactly(table: SolverTable) -> None:
    full = canvas(table, windows=cover(SIZE, SIZE), controls=(condition(),))
    shape = EngineShape(4, 4, SIZE, TOKENS, WIDTH, columns=12, weighted=True)
    branches = Branches(shared={"control": TwoLevelControl()})
    engine = DiffusionEngine(LocalDenoiser(), branches, shape, torch.device("cpu"), torch.float32)
    plain = latents(engine.run([replace(full, windows=())])["c0"])
    placed = EngineShape(4, 4, SIZE, TOKENS, WIDTH, columns=12, weighted=True, regions=1)
    engine = DiffusionEngine(LocalDenoiser(), branches, placed, torch.device("cpu"), torch.float32)
    assert torch.equal(latents(engine.run([replace(full, windows=())])["c0"]), plain)


def test_far_from_window_borders_the_picture_is_that_of_the_whole_canvas(table: SolverTable) -> None:
    """One step of a network that sees two latents far: only borders of windows differ, where their weight is small."""
    once = table_of_one(table)
    full = canvas(once)
    found = run([full], LocalDenoiser())["c0"]
    whole = run([replace(full, windows=())], LocalDenoiser(), window=None)["c0"]
    inner = slice(2, 6)  # only the first window covers columns 0..7
    assert torch.equal(found[:, 2:14, inner], whole[:, 2:14, inner])
    assert relative_error(found, whole) < 0.2


def table_of_one(table: SolverTable) -> SolverTable:
    """Its first step alone, straight to clean latents."""
    first = {name: getattr(table, name)[:1] for name in ("timesteps", "input_scale", "signal", "noise")}
    coefficients = torch.tensor([[1 / float(table.signal[0]), -float(table.noise[0] / table.signal[0])]]).double()
    return replace(table, **first, coefficients=coefficients, noise_steps=())


def test_bits_do_not_depend_on_neighbours_with_windows(table: SolverTable) -> None:
    canvases = [
        canvas(table, 0),
        canvas(table, 1, controls=(condition(),), guidance=Guidance(2.0, "full", words(9))),
        canvas(table, 2, layers=Layers.of([region(5, 20, 3)], table), controls=(condition(),)),
    ]
    together, backwards = run(canvases, LocalDenoiser()), run(canvases[::-1], LocalDenoiser())
    for each in canvases:
        single = run([each], LocalDenoiser())[each.key]
        assert torch.equal(together[each.key], single), each.key
        assert torch.equal(backwards[each.key], single), each.key


def test_canvases_of_equal_windows_share_control(table: SolverTable) -> None:
    """Two variants: one control slot for each window, so four suffice."""
    canvases = [canvas(table, n, prompt=words(0), controls=(condition(),)) for n in range(2)]
    shape = EngineShape(8, 4, SIZE, TOKENS, WIDTH, columns=12, weighted=True, window=WINDOW, windows=4)
    branches = Branches(shared={"control": TwoLevelControl()})
    engine = DiffusionEngine(LocalDenoiser(), branches, shape, torch.device("cpu"), torch.float32)
    for each in canvases:
        engine.submit(each)
    engine.tick()
    assert len(engine._slots.canvases) == 2, "both are admitted at once"
    assert len(engine.drain()) == 2


def test_windows_that_do_not_fit_are_refused(table: SolverTable) -> None:
    shape = EngineShape(8, 8, SIZE, TOKENS, WIDTH, columns=12, window=WINDOW, windows=2)
    engine = DiffusionEngine(LocalDenoiser(), Branches(), shape, torch.device("cpu"), torch.float32)
    for windows, found in ((cover(SIZE, WINDOW), 4), ((), 0)):
        with pytest.raises(CanvasError) as caught:
            engine.submit(canvas(table, windows=windows))
        assert (caught.value.found, caught.value.expected) == (found, "1 to 2")
    with pytest.raises(CanvasError) as caught:
        engine.submit(canvas(table, windows=cover(SIZE, (16, 32))))
    assert caught.value.expected == WINDOW
    with pytest.raises(CanvasError):
        engine.submit(canvas(table, windows=cover((16, 64), WINDOW)[-1:]))
    with pytest.raises(CanvasError):
        canvas(table, guidance=Guidance(1.3, "initialize", words(9))).check()
