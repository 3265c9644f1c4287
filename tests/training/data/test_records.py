"""Records of a split, in memory or streamed: the same ones, and none that cannot be trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dentgen.errors import ConditionError
from dentgen.training.data.order import Chunk, RowOrder
from dentgen.training.data.records import StreamedRecords, conditions_of, open_records
from tests.conftest import JAWS, write_tar
from tests.training.runs import train_spec

Members = dict[str, dict[str, bytes]]


@pytest.mark.parametrize("split", [None, "train", "validation"])
def test_streamed_records_are_those_in_memory(phantoms: str, tmp_path: Path, split: str | None) -> None:
    spec = train_spec(phantoms, tmp_path, "adapter")
    kept, streamed = open_records(spec, split), open_records(spec.model_copy(update={"stream": True}), split)
    assert kept.sizes == streamed.sizes
    assert sum(kept.sizes) == (20 if split is None else 10)
    for place in RowOrder(kept.sizes, 0, chunk=4).places(0, sum(kept.sizes)):
        one, other = kept.record(place), streamed.record(place)
        assert one.key == other.key
        assert split in {None, one.split}
        assert one.photo is not None
        assert other.photo is not None
        assert one.photo.shape == (64, 64, 3)
        assert np.array_equal(one.photo, other.photo)
        assert one.conditions.keys() == other.conditions.keys() >= {"segmentation", "lighting"}
        assert all(np.array_equal(array, other.conditions[name]) for name, array in one.conditions.items())


def test_a_chunk_is_read_once(phantoms: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = open_records(train_spec(phantoms, tmp_path, "adapter", stream=True), None)
    assert isinstance(records, StreamedRecords)
    read, chunks = StreamedRecords._read, list[Chunk]()

    def counting(self: StreamedRecords, chunk: Chunk) -> object:
        chunks.append(chunk)
        return read(self, chunk)

    monkeypatch.setattr(StreamedRecords, "_read", counting)
    places = RowOrder(records.sizes, 0, chunk=5).places(0, 20)
    records.prefetch(dict.fromkeys(place.chunk for place in places))
    for place in places:
        records.record(place)
    assert sorted((chunk.shard, chunk.start) for chunk in chunks) == [(0, 0), (0, 5), (1, 0), (1, 5)]


@pytest.mark.parametrize("stream", [False, True])
def test_unreadable_metadata_end_a_run(stream: bool, tmp_path: Path, demo_members: Members) -> None:
    """A record whose split is unknown would be left out silently."""
    few = dict(sorted(demo_members.items())[:3])
    few["broken"] = {**few[min(few)], "json": b"{"}
    write_tar(tmp_path / "x.tar", few)
    with pytest.raises(ConditionError) as caught:
        open_records(train_spec(str(tmp_path), tmp_path, "adapter", stream=stream), "train")
    assert caught.value.file.endswith("broken.json")


def test_a_record_without_photo_ends_a_run(tmp_path: Path, demo_members: Members) -> None:
    few = {key: dict(members) for key, members in sorted(demo_members.items())[:2]}
    del few[max(few)]["photo.png"]
    write_tar(tmp_path / "x.tar", few)
    with pytest.raises(ConditionError) as caught:
        open_records(train_spec(str(tmp_path), tmp_path, "adapter"), None)
    assert max(few) in caught.value.file


@pytest.mark.parametrize("stream", [False, True])
def test_a_source_without_the_split_is_refused(stream: bool, tmp_path: Path) -> None:
    with pytest.raises(ConditionError) as caught:
        open_records(train_spec(str(JAWS), tmp_path, "adapter", stream=stream), "nowhere")
    assert caught.value.file == str(JAWS)
    assert "nowhere" in caught.value.found


def test_control_images_name_their_conditions() -> None:
    assert conditions_of(()) == ("segmentation",)
    assert conditions_of(("blended", "normal")) == ("segmentation", "lighting", "normal")
    assert conditions_of(("blended-teeth",)) == ("segmentation", "lighting")
