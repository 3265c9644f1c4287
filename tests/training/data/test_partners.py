"""Partners: only references of pairs are rows, and each comes with a target of its own mouth, mirrored alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dentgen.errors import ConditionError
from dentgen.training.data.order import place_of
from dentgen.training.data.partners import PartneredRecords
from dentgen.training.data.records import open_records
from dentgen.training.data.rows import TrainingData
from tests.training.runs import train_spec, training_data


@pytest.mark.parametrize("stream", [False, True])
def test_rows_are_references_with_their_targets(phantoms: str, tmp_path: Path, *, stream: bool) -> None:
    spec = train_spec(phantoms, tmp_path, "two-frame", batch=6, stream=stream)
    records = open_records(spec, None)
    keys = [key for shard in records.keys for key in shard]
    pairs = [(keys[1], keys[7]), (keys[7], keys[1]), (keys[4], keys[7]), (keys[7], keys[4])]
    data = TrainingData(spec, PartneredRecords(records, pairs, "pairs"))
    assert len(data) == 3
    rows = [row for step in range(4) for row in data.batch(step, 0, 6).rows]
    seen = {(row.record.key, row.partner.record.key) for row in rows if row.partner is not None}
    assert seen == set(pairs), "all of them, and no other"
    for row in rows:
        assert row.partner is not None
        assert row.partner.place.mirrored == row.place.mirrored
    assert {row.place.mirrored for row in rows} == {True, False}


def test_a_partner_is_read_as_it_would_be_as_a_row(phantoms: str, tmp_path: Path) -> None:
    spec = train_spec(phantoms, tmp_path, "two-frame", batch=20)
    rows = training_data(spec).batch(0, 0, 20).rows
    by_place = {row.place: row for row in rows}
    for row in rows:
        assert row.partner is not None
        same = by_place.get(row.partner.place)
        if same is not None:
            assert np.array_equal(same.photo, row.partner.photo)


def test_partners_do_not_depend_on_the_parts_of_a_step(phantoms: str, tmp_path: Path) -> None:
    spec = train_spec(phantoms, tmp_path, "two-frame", batch=4)
    whole, part = training_data(spec).batch(3, 0, 4), training_data(spec).batch(3, 2, 2)
    assert [row.partner and row.partner.place for row in whole.rows[2:]] == [
        row.partner and row.partner.place for row in part.rows
    ]


def test_a_pair_needs_both_records(phantoms: str, tmp_path: Path) -> None:
    records = open_records(train_spec(phantoms, tmp_path, "two-frame"), None)
    key = records.keys[0][0]
    with pytest.raises(ConditionError) as caught:
        PartneredRecords(records, [(key, "nobody")], "here")
    assert (caught.value.file, "nobody" in caught.value.found) == ("here", True)
    with pytest.raises(ConditionError) as none:
        PartneredRecords(records, [("no", "body")], "here")
    assert (none.value.file, none.value.expected) == ("here", "at least one")


def test_places_lie_in_the_chunks_of_the_order() -> None:
    place = place_of([70, 20], 0, 65, mirrored=True, split=None)
    assert (place.chunk.start, place.chunk.stop, place.position, place.mirrored) == (64, 70, 65, True)
