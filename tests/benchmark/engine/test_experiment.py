"""What one combination's figures are computed from."""

from __future__ import annotations

import pytest

from dentgen.benchmark.engine.clock import Lap
from dentgen.benchmark.engine.experiment import _limits, gflop_per_picture
from dentgen.benchmark.engine.flops import NetworkFlops
from dentgen.benchmark.engine.work import Work, make_work
from dentgen.models.bundle import Bundle
from dentgen.spec.yaml_file import read_spec
from tests.benchmark.engine.conftest import DEMO_SPEC


def test_work_per_image_by_hand(miniature: Bundle) -> None:
    """Four variants share control (16 slots, 4 control slots), encoding and prompt; diffusers shares nothing."""
    overrides = ["engine.slots=16", "sampling.variants=4", "sampling.steps=3", "conditions.size=64"]
    work: Work = make_work(read_spec(DEMO_SPEC, overrides), miniature, times=1)
    assert work.spec.control_slots == 4
    flops = NetworkFlops(unet=100, control=40, encode=8, decode=7, text=4)
    assert gflop_per_picture(work, flops) == {
        "engine": 3 * (100 + 40 / 4) + (8 + 4) / 4 + 7,
        "diffusers_batched": 3 * (100 + 40) + 8 + 7 + 4,
        "diffusers_ddim20": 20 * 2 * (100 + 40) + 8 + 7 + 2 * 4,
    }


def test_shares_of_the_engines_time() -> None:
    """The engine takes 10 s, its networks alone 8 s."""
    engine = Lap(10.0, {"prepare": 1.5, "tick": 6.5, "decode": 2.0})
    networks = Lap(8.0, {"text": 0.5, "encode": 0.5, "control": 1.0, "unet": 4.0, "decode": 2.0})
    limits = _limits([{"engine": engine, "networks": networks}])
    assert limits["unet"] == pytest.approx(0.4)
    assert limits["overhead"] == pytest.approx(0.2)
    assert limits["overhead_by_stage"] == pytest.approx({"prepare": 0.05, "tick": 0.15, "decode": 0.0})
