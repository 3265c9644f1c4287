"""Rows: named by seed and step, mirrored whole, with control images and prompts as the recipes need them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dentgen.conditions.labels import IGNORE, mirror_prompt
from dentgen.conditions.lesion_map import CAVITY
from dentgen.conditions.prepare import control_image
from dentgen.phantom.prompt import phantom_phrases
from dentgen.seeding import numpy_generator
from dentgen.training.data.order import Place
from dentgen.training.data.records import conditions_of
from dentgen.training.data.rows import TrainingRow, drop_words
from tests.training.runs import train_spec, training_data

PROMPT = "a photo of both teeth, left view, intraoral dental photography, white teeth, pink gums, ring flash"


def test_streamed_rows_are_those_in_memory(phantoms: str, tmp_path: Path) -> None:
    spec = train_spec(phantoms, tmp_path, "adapter", batch=4)
    kept, streamed = training_data(spec), training_data(spec.model_copy(update={"stream": True}))
    assert len(kept) == len(streamed) == 20
    for step in (0, 1, 2, 7, 3):
        for one, other in zip(kept.batch(step, 2, 2).rows, streamed.batch(step, 2, 2).rows, strict=True):
            assert one.place == other.place
            assert one.prompt == other.prompt
            assert np.array_equal(one.photo, other.photo)
            assert all(np.array_equal(one.control(kind), other.control(kind)) for kind in spec.control_kinds)


def test_a_worker_gets_its_own_rows(phantoms: str, tmp_path: Path) -> None:
    data = training_data(train_spec(phantoms, tmp_path, "adapter", batch=4))
    whole = [row.place for row in data.batch(3, 0, 4).rows]
    assert [row.place for first in (0, 2) for row in data.batch(3, first, 2).rows] == whole


def test_prefetched_rows_are_those_asked_for(phantoms: str, tmp_path: Path) -> None:
    spec = train_spec(phantoms, tmp_path, "adapter", batch=2)
    ahead, plain = training_data(spec), training_data(spec)
    for step in range(4):
        one, other = ahead.batch(step, 0, 2), plain.batch(step, 0, 2, prefetch=False)
        assert [row.place for row in one.rows] == [row.place for row in other.rows]
        assert (len(ahead._prepared), len(plain._prepared)) == (int(step < 3), 0), "nothing after the last step"


def test_rows_are_mirrored_whole(phantoms: str, tmp_path: Path) -> None:
    data = training_data(train_spec(phantoms, tmp_path, "base", batch=20))
    rows: dict[Place, TrainingRow] = {row.place: row for step in range(8) for row in data.batch(step, 0, 20).rows}
    plain = {(place.chunk, place.position): row for place, row in rows.items() if not place.mirrored}
    pairs = [
        (row, plain[place.chunk, place.position])
        for place, row in rows.items()
        if place.mirrored and (place.chunk, place.position) in plain
    ]
    assert len(pairs) > 10
    for mirror, row in pairs:
        assert np.array_equal(mirror.photo, row.photo[:, ::-1])
        assert np.array_equal(mirror.seg, row.seg[:, ::-1])
        assert np.array_equal(mirror.control("lighting"), row.control("lighting")[:, ::-1])
        assert mirror.prompt == mirror_prompt(row.prompt)
    assert any("left view" in mirror.prompt and "right view" in row.prompt for mirror, row in pairs)


def test_bare_teeth_show_light_on_teeth_only(phantoms: str, tmp_path: Path) -> None:
    (row,) = training_data(train_spec(phantoms, tmp_path, "adapter", conditions={"alpha": 0.0})).batch(0, 0, 1).rows
    full, bare, light = row.control("blended"), row.control("blended-teeth"), row.control("lighting")
    teeth = np.isin(row.record.conditions["segmentation"], [2, 4, 5])
    assert np.array_equal(full, light), "alpha 0 shows lighting alone"
    assert np.array_equal(bare[teeth], light[teeth])
    assert not bare[~teeth].any()
    assert light[~teeth].any()


def test_findings_are_blended_as_in_builds(phantoms: str, tmp_path: Path) -> None:
    (row,) = training_data(train_spec(phantoms, tmp_path, "adapter", conditions={"alpha": 0.3})).batch(0, 0, 1).rows
    lesion = np.where(row.record.conditions["segmentation"] == 2, CAVITY, 0).astype(np.uint8)
    record = replace(row.record, conditions={**row.record.conditions, "findings": lesion})
    shown = replace(row, record=record).control("findings")
    assert np.array_equal(shown, control_image(record, ("findings", "lighting", "segmentation"), 0.3))
    assert not np.array_equal(shown, row.control("blended"))
    assert conditions_of(["findings"]) == ("segmentation", "lighting", "findings")


def test_findings_are_where_their_map_has_something(phantoms: str, tmp_path: Path) -> None:
    batch = training_data(train_spec(phantoms, tmp_path, "adapter", batch=2)).batch(0, 0, 2)
    plain = batch.rows[0]
    lesion = np.zeros(plain.seg.shape, np.uint8)
    lesion[3, 4], lesion[5, 6] = CAVITY, IGNORE
    record = replace(plain.record, conditions={**plain.record.conditions, "findings": lesion})
    found = replace(batch, rows=[plain, replace(plain, record=record)]).found
    assert not found[0].any()
    assert np.argwhere(found[1]).tolist() == [[3, 4]]


def test_alpha_is_the_specs(phantoms: str, tmp_path: Path) -> None:
    images = [
        training_data(train_spec(phantoms, tmp_path, "adapter", conditions={"alpha": alpha}))
        .batch(0, 0, 1)
        .rows[0]
        .control("blended")
        for alpha in (0.0, 0.5, 1.0)
    ]
    assert np.allclose(images[1], (images[0].astype(float) + images[2]) / 2, atol=1)
    assert training_data(train_spec(phantoms, tmp_path, "text-to-image")).batch(0, 0, 1).rows[0].alpha == 0


def test_batches_stack_their_rows(phantoms: str, tmp_path: Path) -> None:
    batch = training_data(train_spec(phantoms, tmp_path, "adapter", batch=3)).batch(1, 0, 3)
    assert (len(batch), batch.photos.shape, batch.seg.shape) == (3, (3, 64, 64, 3), (3, 64, 64))
    assert set(np.unique(batch.seg)) <= {0, 1, 2, 255}


def test_prompts_of_phantoms_lose_attributes_but_keep_the_view() -> None:
    rng = numpy_generator("words")
    dropped = [drop_words(PROMPT, rng) for _ in range(400)]
    fixed = "a photo of both teeth, left view, intraoral dental photography"
    assert all(text.startswith(fixed) and phantom_phrases(text) for text in dropped)
    assert sum("white teeth" in text for text in dropped) / 400 == pytest.approx(0.85, abs=0.06)
    neutral = sum("clinical lighting" in text for text in dropped) / 400
    assert neutral == pytest.approx(0.15 * 0.85, abs=0.05), "a light that was kept is neutral with probability 0.15"
    assert not any("clinical lighting" in text and "ring flash" in text for text in dropped)


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "a smile",
        "a smile, front view, of a patient",
        "upper arch, occlusal, after cleaning, mild plaque, two fillings, ring flash",
        "a photo of both teeth, left view, intraoral dental photography, white teeth, before treatment",
        "A photo of both teeth, left view, intraoral dental photography, white teeth",
        "a photo of both teeth, left view",
        "white teeth, pink gums, ring flash",
    ],
)
def test_foreign_captions_pass_unchanged(caption: str) -> None:
    rng = numpy_generator("foreign")
    assert phantom_phrases(caption) is None
    assert {drop_words(caption, rng) for _ in range(200)} == {caption}


def test_every_prompt_of_the_demo_is_a_phantoms(phantoms: str, tmp_path: Path) -> None:
    data = training_data(train_spec(phantoms, tmp_path, "adapter", batch=40))
    prompts = {row.prompt for row in data.batch(0, 0, 40).rows}
    assert len(prompts) > 10
    for prompt in prompts:
        assert phantom_phrases(prompt) == tuple(prompt.split(", "))
