"""Cost of a picture: operations are the sum over the networks' single calls, which another counter takes."""

from __future__ import annotations

import pytest

from dentgen.benchmark.engine.flops import count_networks
from dentgen.evaluation.tables.cost import picture_cost, times_over_first
from dentgen.models.bundle import Bundle
from tests.evaluation.small_evaluation import SIZE, small_build_spec


@pytest.fixture(scope="module")
def calls(miniature: Bundle) -> dict[str, float]:
    """GFLOP of single calls."""
    width = miniature.text_encoder.config.hidden_size
    counted = count_networks(miniature, (SIZE, SIZE), miniature.tokenizer.model_max_length, width)
    return {name: getattr(counted, name) for name in ("unet", "control", "encode", "decode", "text")}


def test_operations_are_those_of_the_calls(calls: dict[str, float], miniature: Bundle) -> None:
    cost = picture_cost(small_build_spec("sampling.steps=3"))
    expected = 3 * (calls["unet"] + calls["control"]) + calls["encode"] + calls["decode"] + calls["text"]
    assert cost.gflop == pytest.approx(expected, rel=1e-3)
    assert (cost.steps, cost.unet_evaluations) == (3, 3)
    control = miniature.control
    assert control is not None
    assert cost.parameters == sum(p.numel() for net in (miniature.unet, control) for p in net.parameters())


def test_guidance_doubles_rows_and_prompts(calls: dict[str, float]) -> None:
    cost = picture_cost(small_build_spec("sampling.steps=3", "sampling.guidance_scale=2"))
    steps = 3 * 2 * (calls["unet"] + calls["control"])
    assert cost.gflop == pytest.approx(steps + calls["encode"] + calls["decode"] + 2 * calls["text"], rel=1e-3)
    assert cost.unet_evaluations == 6


def test_a_control_of_scale_0_costs_nothing(calls: dict[str, float], miniature: Bundle) -> None:
    cost = picture_cost(small_build_spec("sampling.steps=3", "model.adapters={blended: 0.0}"))
    assert cost.gflop == pytest.approx(3 * calls["unet"] + calls["decode"] + calls["text"], rel=1e-3)
    assert cost.parameters == sum(p.numel() for p in miniature.unet.parameters())


@pytest.mark.integration
def test_a_sum_shares_the_parameters_of_its_base(calls: dict[str, float], miniature: Bundle) -> None:
    one = picture_cost(small_build_spec("model.adapters={segmentation: 1}", "conditions.use=[segmentation]"))
    two = picture_cost(small_build_spec("model.adapters={segmentation: 1, lighting: 1}", "conditions.combine=sum"))
    assert two.gflop - one.gflop == pytest.approx(2 * calls["control"] + calls["encode"], rel=1e-3)
    control = miniature.control
    assert control is not None
    assert 0 < two.parameters - one.parameters < sum(p.numel() for p in control.parameters())


def test_more_steps_take_longer() -> None:
    few, many = small_build_spec("sampling.steps=2"), small_build_spec("sampling.steps=40")
    first, ratio = times_over_first([few, many], rounds=3)
    assert first == 1
    assert ratio > 2
