"""Networks in batches: the same rows as in one call, never more than asked for, in any number."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from dentgen.diffusion.canvas import Finished
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.diffusion.network_batches import (
    DenoiserInBatches,
    RowControlInBatches,
    SharedControlInBatches,
    branches_in_batches,
)
from dentgen.diffusion.networks import Branches, EngineShape
from dentgen.diffusion.solver import SolverTable
from dentgen.diffusion.windows import cover
from dentgen.models.bundle import Bundle
from tests.diffusion.parts import table_of
from tests.diffusion.test_row_places import SIZE, WINDOW, canvas, condition
from tests.diffusion.toy_networks import TOKENS, WIDTH, LocalDenoiser, TwoLevelControl


@pytest.fixture(scope="module")
def table(miniature: Bundle) -> SolverTable:
    return table_of(miniature, "unipc", 4)


class Counted(LocalDenoiser):
    """Notes the rows of every call."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def forward(
        self, latents: Tensor, timesteps: Tensor, prompts: Tensor, residuals: Sequence[Tensor] | None = None
    ) -> Tensor:
        self.rows.append(len(latents))
        assert residuals is None or len(residuals[0]) == len(latents)
        return super().forward(latents, timesteps, prompts, residuals)


class Hinted:
    """A control branch whose residuals are those of its hints, with latents added."""

    hint_shape = (4, 16, 16)

    def __call__(self, latents: Tensor, timesteps: Tensor, prompt_embeds: Tensor, hints: Tensor) -> Sequence[Tensor]:
        assert len(latents) <= 3
        return [hints + latents, (hints * timesteps[:, None, None, None]).mean((2, 3))]


def rows(count: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    latents = torch.randn(count, 4, 16, 16, generator=generator)
    return latents, torch.arange(count) * 10.0, torch.randn(count, TOKENS, WIDTH, generator=generator)


@pytest.mark.parametrize("controlled", [False, True])
def test_a_unet_gives_every_row_what_it_gives_in_one_call(controlled: bool) -> None:
    unet, given = Counted(), rows(7)
    residuals = [torch.randn(7, 8, 16, 16), torch.randn(7, 8, 8, 8)] if controlled else None
    whole = unet(*given, residuals)
    assert torch.equal(DenoiserInBatches(unet, 3)(*given, residuals), whole)
    assert unet.rows == [7, 3, 3, 1]


def test_control_gives_every_row_what_it_gives_in_one_call() -> None:
    latents, timesteps, prompts = rows(5)
    shared = TwoLevelControl()
    parts = SharedControlInBatches(shared, 2)(latents, timesteps, prompts)
    whole = shared(latents, timesteps, prompts)
    assert all(torch.equal(*pair) for pair in zip(parts, whole, strict=True))
    branch = RowControlInBatches(Hinted(), 3)
    found = branch(latents, timesteps, prompts, 2 * latents)
    assert torch.equal(found[0], 3 * latents)
    assert found[1].shape == (5, 4)
    assert branch.hint_shape == Hinted.hint_shape


def test_a_canvas_of_windows_is_the_same_in_batches(table: SolverTable) -> None:
    """Four windows in calls of three rows; the engine has room for one canvas, and makes one after the other."""
    canvases = [canvas(table, n, controls=(condition(),), windows=cover(SIZE, WINDOW)) for n in range(2)]
    found = []
    for batch, count in ((8, None), (3, 1)):
        shape = EngineShape(
            8, 8, SIZE, TOKENS, WIDTH, columns=12, weighted=True, window=WINDOW, windows=4, canvases=count
        )
        unet, branches = Counted(), Branches(shared={"control": TwoLevelControl()})
        engine = DiffusionEngine(
            DenoiserInBatches(unet, batch), branches_in_batches(branches, batch), shape, torch.device("cpu"),
            torch.float32,
        )  # fmt: skip
        engine.submit(canvases[0])
        engine.submit(canvases[1])
        engine.tick()
        assert len(engine._slots.canvases) == (2 if count is None else 1)
        outcomes = engine.drain()
        found.append({each.key: each.latents for each in outcomes if isinstance(each, Finished)})
        assert max(unet.rows) == batch
        assert len(engine._state.latents) == (8 if count is None else 1)
    assert [len(each) for each in found] == [2, 2]
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])
