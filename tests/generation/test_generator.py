"""Models, routes and engines of a spec."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dentgen.errors import BundleError, SpecError
from dentgen.generation.generator import (
    ControlRoute,
    control_routes,
    device_and_dtype,
    load_generator,
    solver_table,
)
from dentgen.models.bundle import BASE, find_bundle
from dentgen.records import ConditionName
from dentgen.spec.build import BuildSpec


def spec_of(**sections: dict[str, Any]) -> BuildSpec:
    return BuildSpec.model_validate(sections)


BLENDED: tuple[ConditionName, ...] = ("segmentation", "lighting")


@pytest.mark.parametrize(
    ("sections", "routes"),
    [
        ({}, [ControlRoute("blended", "blended", BLENDED, 1.0)]),
        ({"model": {"adapters": {}}}, [ControlRoute(BASE, BASE, BLENDED, 1.0)]),
        (
            {"model": {"adapters": {"blended": 0.5}, "controlnets": {"edges": 2.0}}},
            [ControlRoute("blended", "blended", BLENDED, 0.5), ControlRoute("edges", "edges", BLENDED, 2.0)],
        ),
        (
            {"model": {"adapters": {}}, "conditions": {"combine": "sum"}},
            [
                ControlRoute("segmentation", BASE, ("segmentation",), 1.0),
                ControlRoute("lighting", BASE, ("lighting",), 1.0),
            ],
        ),
        (
            {"model": {"adapters": {"segmentation": 0.3, "lighting": 0.7}}, "conditions": {"combine": "sum"}},
            [
                ControlRoute("segmentation", "segmentation", ("segmentation",), 0.3),
                ControlRoute("lighting", "lighting", ("lighting",), 0.7),
            ],
        ),
    ],
)
def test_control_routes_follow_the_spec(sections: dict[str, Any], routes: list[ControlRoute]) -> None:
    assert list(control_routes(spec_of(**sections))) == routes


def test_the_order_of_adapters_in_a_file_decides_nothing() -> None:
    """Three residuals sum to other bits in another order, and the digest knows no order."""
    names = ["c", "a", "b"]
    forwards, backwards = (spec_of(model={"adapters": dict.fromkeys(order, 1.0)}) for order in (names, names[::-1]))
    assert forwards.digest() == backwards.digest()
    assert control_routes(forwards) == control_routes(backwards)


def test_precision_follows_the_device_unless_the_spec_says() -> None:
    device, auto = device_and_dtype(spec_of())
    assert auto == {"cpu": "float32", "cuda": "float16"}[device]
    assert device_and_dtype(spec_of(engine={"dtype": "bfloat16"}))[1] == "bfloat16"


def test_the_codec_works_in_the_specs_batches() -> None:
    """A call each, between which an engine's thread is free for others; the last one is padded."""
    generator, calls = load_generator(spec_of(engine={"codec_batch": 3})), list[int]()

    def counted(work: Callable[[], Any], /) -> Any:
        calls.append(1)
        return work()

    codec = generator.codec.through(counted)
    assert len(codec.decode([torch.zeros(4, 4, 4)] * 7)) == 7
    assert len(codec.encode_pictures([np.zeros((32, 32, 3), np.uint8)] * 4)) == 4
    assert len(calls) == 3 + 2


def test_tables_have_the_specs_steps() -> None:
    folder = find_bundle("miniature")
    table = solver_table(spec_of(sampling={"scheduler": "lcm", "steps": 2, "timesteps": [900, 300]}), folder)
    assert [float(timestep) for timestep in table.timesteps] == [900, 300]
    whole, half = (
        solver_table(spec_of(sampling={"scheduler": "ddim", "steps": 8, "start_from": "photo", "strength": s}), folder)
        for s in (1.0, 0.5)
    )
    assert (whole.num_steps, half.num_steps) == (8, 4)


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        load_generator(spec_of(model={"adapters": {"nobody": 1.0}}))
    assert "nobody" in str(caught.value)
    with pytest.raises(BundleError):
        load_generator(spec_of(model={"bundle": str(tmp_path / "nothing")}))
    with pytest.raises(SpecError) as refused:
        load_generator(spec_of(conditions={"control_start": 0.3, "control_end": 0.4}))
    assert refused.value.key == "conditions.control_start, control_end"
