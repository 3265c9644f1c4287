"""Rows: every record once an epoch, named by seed and step, the same kept or streamed, whatever reads them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dentgen.conditions.labels import mirror_prompt
from dentgen.errors import ConditionError
from dentgen.seeding import numpy_generator
from dentgen.training.data.order import RowOrder
from dentgen.training.data.records import conditions_of, open_records
from dentgen.training.data.rows import TrainingData, drop_words
from tests.conftest import DEMO, write_tar
from tests.training.conftest import train_spec

Members = dict[str, dict[str, bytes]]


def test_an_epoch_shows_every_record_once() -> None:
    order = RowOrder([70, 3, 40], 1, chunk=8, window=3)
    epochs = [[(p.chunk.shard, p.position) for p in order.places(113 * epoch, 113)] for epoch in range(3)]
    for places in epochs:
        assert sorted(places) == [(0, i) for i in range(70)] + [(1, i) for i in range(3)] + [(2, i) for i in range(40)]
    assert epochs[0] != epochs[1] != epochs[2]
    mirrored = Counter(p.mirrored for p in order.places(0, 1130))
    assert 400 < mirrored[True] < 730


def test_rows_do_not_depend_on_what_was_asked_before() -> None:
    sizes = [70, 3, 40]
    whole = RowOrder(sizes, 1, chunk=8, window=3).places(0, 300)
    again = RowOrder(sizes, 1, chunk=8, window=3)
    pieces = [again.places(start, 10) for start in (290, 100, 0, 10)]
    assert pieces == [whole[start : start + 10] for start in (290, 100, 0, 10)]
    assert RowOrder(sizes, 2, chunk=8, window=3).places(0, 300) != whole


def test_neighbouring_rows_come_from_few_chunks() -> None:
    """So that a stream reads a chunk once an epoch."""
    order = RowOrder([1000] * 4, 0, chunk=10, window=5)
    for window in range(0, 4000, 50):
        assert len({place.chunk for place in order.places(window, 50)}) == 5


@pytest.mark.parametrize("stream", [False, True])
def test_metadata_that_cannot_be_read_end_a_run(stream: bool, tmp_path: Path, demo_members: Members) -> None:
    """A record without a split would be left out in silence."""
    few = dict(sorted(demo_members.items())[:3])
    few["broken"] = {**few[min(few)], "json": b"{"}
    write_tar(tmp_path / "x.tar", few)
    spec = train_spec(str(tmp_path), tmp_path, "adapter", stream=stream)
    with pytest.raises(ConditionError, match=r"broken\.json"):
        open_records(spec, "train")


def test_streamed_rows_are_those_kept(phantoms: str, tmp_path: Path) -> None:
    spec = train_spec(phantoms, tmp_path, "adapter", batch=4)
    kept = TrainingData(spec, open_records(spec, "train"))
    streaming = spec.model_copy(update={"stream": True})
    streamed = TrainingData(streaming, open_records(streaming, "train"))
    assert len(kept) == len(streamed) > 2
    for step in (0, 1, 2, 7, 3):
        for one, other in zip(kept.batch(step, 2, 2).rows, streamed.batch(step, 2, 2).rows, strict=True):
            assert one.place == other.place
            assert one.prompt == other.prompt
            assert np.array_equal(one.photo, other.photo)
            assert all(np.array_equal(one.control(kind), other.control(kind)) for kind in spec.control_kinds)


def test_a_worker_reads_its_own_rows(phantoms: str, tmp_path: Path) -> None:
    spec = train_spec(phantoms, tmp_path, "adapter", batch=4)
    data = TrainingData(spec, open_records(spec, ""))
    whole = [row.place for row in data.batch(3, 0, 4).rows]
    assert [row.place for first in (0, 2) for row in data.batch(3, first, 2).rows] == whole


def test_rows_are_mirrored_whole(tmp_path: Path) -> None:
    spec = train_spec(str(DEMO), tmp_path, "base", batch=20, size=128)
    data = TrainingData(spec, open_records(spec, ""))
    shown = {}
    for step in range(8):
        for row in data.batch(step, 0, 20).rows:
            shown[row.place.chunk, row.place.position, row.place.mirrored] = row
    pairs = [
        (row, shown[chunk, i, False])
        for (chunk, i, mirrored), row in shown.items()
        if mirrored and (chunk, i, False) in shown
    ]
    assert len(pairs) > 10
    for mirror, plain in pairs:
        assert np.array_equal(mirror.photo, plain.photo[:, ::-1])
        assert np.array_equal(mirror.seg, plain.seg[:, ::-1])
        assert np.array_equal(mirror.control("lighting"), plain.control("lighting")[:, ::-1])
        assert mirror.prompt == mirror_prompt(plain.prompt)
    assert any("left view" in mirror.prompt and "right view" in plain.prompt for mirror, plain in pairs)


def test_a_source_without_the_split_is_refused(phantoms: str, tmp_path: Path) -> None:
    spec = train_spec(phantoms, tmp_path, "adapter")
    with pytest.raises(ConditionError, match="no record of split 'nowhere'"):
        open_records(spec, "nowhere")


def test_control_images_name_their_maps() -> None:
    assert conditions_of(()) == ("segmentation",)
    assert conditions_of(("blended", "normal")) == ("segmentation", "lighting", "normal")


def test_prompts_lose_words_but_keep_the_view() -> None:
    prompt = "a photo of both teeth, left view, intraoral dental photography, white teeth, pink gums, ring flash"
    assert mirror_prompt(mirror_prompt(prompt)) == prompt
    rng = numpy_generator("words")
    dropped = [drop_words(prompt, rng) for _ in range(50)]
    assert all(text.startswith("a photo of both teeth, left view") for text in dropped)
    assert len(set(dropped)) > 4
    assert any(text.endswith("clinical lighting") for text in dropped)


@pytest.mark.parametrize("prompt", ["", "a smile", "a smile, front view, of a patient"])
def test_prompts_of_other_pictures_gain_no_words(prompt: str) -> None:
    rng = numpy_generator("others")
    given = set(prompt.split(", "))
    assert all(set(drop_words(prompt, rng).split(", ")) <= given for _ in range(50))


def test_places_of_two_splits_are_never_taken_for_each_other() -> None:
    """Latents are kept by place, and both splits' records are counted from 0."""
    train, held_out = (set(RowOrder([40], 0, split).places(0, 400)) for split in ("train", "validation"))
    assert len(train) > 70
    assert not train & held_out
