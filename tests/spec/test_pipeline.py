"""The pipeline section: actors, and what Ray can reserve for them."""

from __future__ import annotations

import pytest

from dentgen.errors import SpecError
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import validate_document


@pytest.mark.parametrize(
    ("actors", "limits"),
    [(3, (3, 3)), ({"min": 2, "max": 64}, (2, 64)), ({"max": 8}, (1, 8)), ({"min": 4, "max": 4}, (4, 4))],
)
def test_actors_are_a_number_or_a_range(actors: object, limits: tuple[int, int]) -> None:
    pipeline = BuildSpec.model_validate({"pipeline": {"actors": actors}}).pipeline
    assert (pipeline.fewest_actors, pipeline.most_actors) == limits
    assert BuildSpec.model_validate_json(BuildSpec(pipeline=pipeline).model_dump_json()).pipeline == pipeline


@pytest.mark.parametrize(
    ("pipeline", "key"),
    [
        ({"actors": 0}, "pipeline.actors"),
        ({"actors": {"min": 4, "max": 2}}, "pipeline.actors"),
        ({"actors": {"min": 0, "max": 2}}, "pipeline.actors.min"),
        ({"actors": {"min": 1}}, "pipeline.actors.max"),
        ({"actors": {"min": 1, "max": 2, "most": 3}}, "pipeline.actors.most"),
        ({"gpus_per_actor": -1}, "pipeline.gpus_per_actor"),
        ({"gpus_per_actor": 1.5}, "pipeline.gpus_per_actor"),
        ({"gpus_per_actor": 0.00001}, "pipeline.gpus_per_actor"),
        ({"gpus_per_actor": float("nan")}, "pipeline.gpus_per_actor"),
    ],
)
def test_what_ray_cannot_reserve_is_named(pipeline: dict[str, object], key: str) -> None:
    with pytest.raises(SpecError) as caught:
        validate_document(BuildSpec, {"pipeline": pipeline}, "spec.yaml")
    assert caught.value.key == key


@pytest.mark.parametrize("gpus", [None, 0, 0.25, 1, 2])
def test_parts_of_a_gpu_and_whole_ones_can_be_reserved(gpus: float | None) -> None:
    assert BuildSpec.model_validate({"pipeline": {"gpus_per_actor": gpus}}).pipeline.gpus_per_actor == gpus
