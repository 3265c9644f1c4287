"""The teacher: panels of every layout, with shared noise, from seed and key alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dentgen.conditions.decode import decode_record
from dentgen.conditions.readers.raw import RawRecord
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.curation.pairs.layouts import Layout
from dentgen.errors import ConditionError, SpecError
from dentgen.generation.pipeline import Pipeline
from dentgen.phantom.prompt import NEUTRAL_LIGHT
from dentgen.pipeline.teacher import Teacher
from dentgen.records import ConditionRecord
from dentgen.relight.shading import draw_lightings, shade
from dentgen.spec.build import BuildSpec
from tests.conftest import JAWS


def spec(**sampling: Any) -> BuildSpec:
    values = {"conditions": {"size": 64}, "sampling": {"steps": 2, **sampling}, "engine": {"slots": 4}}
    return BuildSpec.model_validate(values)


def records() -> list[ConditionRecord]:
    (shard, *_) = list_shards(str(JAWS))
    return [decode_record(raw, ("normal",)) for raw, _ in zip(read_records(shard), range(2), strict=False)]


def drawn(layout: Layout, chosen: list[ConditionRecord], seed: int = 3) -> list[list[np.ndarray]]:
    teacher = Teacher(spec(), layout, 4, seed)
    return [[panel.picture for panel in panels] for panels in teacher.draw([teacher.lit(each) for each in chosen])]


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["row", "square", "shared"])
def test_every_layout_draws_a_panel_per_light(layout: Layout) -> None:
    one, other = records()
    both = drawn(layout, [one, other])
    assert [[panel.shape for panel in panels] for panels in both] == [[(64, 64, 3)] * 4] * 2
    for panels in both:
        assert len({panel.tobytes() for panel in panels}) == 4
    (alone,) = drawn(layout, [other])
    assert all(np.array_equal(a, b) for a, b in zip(alone, both[1], strict=True)), "whatever is drawn beside it"


@pytest.mark.slow
def test_another_seed_draws_other_panels() -> None:
    record = records()[0]
    assert not np.array_equal(drawn("shared", [record])[0][0], drawn("shared", [record], seed=4)[0][0])


@pytest.mark.integration
def test_separate_canvases_share_the_noise_of_the_pipeline() -> None:
    """A panel is the picture that the pipeline draws for its maps under the record's key and the seed."""
    record = records()[0]
    teacher = Teacher(spec(), "shared", 4, 3)
    lit = teacher.lit(record)
    (panels,) = teacher.draw([lit])
    pipe = Pipeline(spec())
    for panel in panels:
        seg, light = (panel.record.conditions[name] for name in ("segmentation", "lighting"))
        (image,) = pipe(segmentation=seg, lighting=light, prompt=panel.record.prompt, seed=3, key=record.key).images
        assert np.array_equal(np.asarray(image), panel.picture)


@pytest.mark.integration
def test_lights_are_those_of_relight_and_prompts_name_none() -> None:
    record, teacher = records()[0], Teacher(spec(), "shared", 3, 3)
    lit = teacher.lit(record)
    assert lit.lightings == tuple(draw_lightings(3, record.key, 3))
    full = Teacher(BuildSpec.model_validate({"conditions": {"size": 128}, "engine": {"slots": 1}}), "shared", 3, 3)
    for one, lighting in zip(full.lit(record).records, lit.lightings, strict=True):
        wanted = shade(record.conditions["normal"], record.conditions.get("depth"), lighting)
        assert np.array_equal(one.conditions["lighting"], wanted)
        assert NEUTRAL_LIGHT in one.prompt
        assert one.photo is None


@pytest.mark.integration
def test_canvases_fill_the_slots() -> None:
    assert Teacher(spec(), "shared", 2, 0).records_at_once == 2
    assert Teacher(spec(), "row", 2, 0).records_at_once == 4


def test_a_spec_without_light_or_noise_is_refused() -> None:
    for values, key in (
        ({"conditions": {"use": ["segmentation"], "size": 64}}, "conditions.use"),
        ({"sampling": {"start_from": "photo", "strength": 0.5}}, "sampling.start_from"),
    ):
        with pytest.raises(SpecError) as caught:
            Teacher(BuildSpec.model_validate(values), "shared", 2, 0)
        assert caught.value.key == key
    with pytest.raises(SpecError) as square:
        Teacher(spec(), "square", 3, 0)
    assert square.value.key == "--lights"


def test_a_record_without_normals_cannot_be_lit(demo_members: dict[str, dict[str, bytes]]) -> None:
    key = min(demo_members)
    bare = {name: content for name, content in demo_members[key].items() if name != "normal.png"}
    with pytest.raises(ConditionError) as caught:
        Teacher(spec(), "shared", 2, 0).lit(decode_record(RawRecord(key, "", bare), ()))
    assert caught.value.file == f"{key}: normal"
