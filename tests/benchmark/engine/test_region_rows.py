"""The cost of regions in counted operations, which are exact, and that both contestants generate the same latents."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dentgen.benchmark.engine.flops import count_networks
from dentgen.benchmark.engine.region_rows import UsualLoop, _plain_canvases, _stripes, measure_regions
from dentgen.benchmark.engine.work import Work
from dentgen.errors import EngineError, SpecError


@pytest.fixture(scope="module")
def measured(work: Work) -> dict[str, Any]:
    """One region, so both slots are one picture's."""
    return measure_regions(work, 1, rounds=1)


@pytest.mark.slow
def test_regions_cost_their_rows_and_at_most_five_percent(measured: dict[str, Any]) -> None:
    assert 1 <= measured["flops"]["regions_over_rows"] < 1.05
    assert measured["flops"]["loop_over_engine"] == pytest.approx(1, rel=0.01), "as many calls, one picture at a time"


@pytest.mark.integration
def test_counted_operations_are_those_of_the_networks(work: Work, measured: dict[str, Any]) -> None:
    """Two steps of two rows, with a pass of the control net for each."""
    flops = count_networks(work.generator.bundle, work.spec.conditions.shape, *work.generator.prompts.shape)
    assert measured["gflop_per_picture"]["loop"] == pytest.approx(2 * 2 * (flops.unet + flops.control), rel=1e-6)
    assert measured["gflop_per_picture"]["engine"] == pytest.approx(2 * 2 * (flops.unet + flops.control), rel=1e-3)
    assert measured["gflop_per_picture"]["plain"] == pytest.approx(2 * (flops.unet + flops.control), rel=1e-3)


@pytest.mark.integration
def test_both_generate_the_same_latents(measured: dict[str, Any]) -> None:
    assert measured["latents_apart"] < 1e-3
    assert measured["pictures_at_once"] == 1
    assert measured["spread"]["loop_over_engine"] == [measured["ratios"]["loop_over_engine"]] * 2


@pytest.mark.integration
def test_another_picture_is_an_error(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    right = UsualLoop._mean_prediction
    monkeypatch.setattr(UsualLoop, "_mean_prediction", lambda *inputs: 0.9 * right(*inputs))
    with pytest.raises(EngineError) as caught:
        measure_regions(work, 1, rounds=1)
    assert caught.value.key == "latents of engine and usual loop"


@pytest.mark.integration
def test_stripes_leave_one_to_the_background(work: Work) -> None:
    masks = torch.stack([region.mask for region in _stripes(work, 3).regions])
    assert masks.sum(0).flatten().tolist() == ([1.0] * 6 + [0.0] * 2) * 8
    assert len({canvas.prompt.name for canvas in _plain_canvases(work, 2)}) == 2


@pytest.mark.integration
@pytest.mark.parametrize("regions", [0, 2])
def test_pictures_must_fit_the_slots(work: Work, regions: int) -> None:
    with pytest.raises(SpecError) as caught:
        measure_regions(work, regions, rounds=1)
    assert (caught.value.key, caught.value.found) == ("--regions", regions)
