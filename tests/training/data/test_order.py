"""The order of rows: every record once per epoch, a pure function of seed and row number."""

from __future__ import annotations

from collections import Counter

from dentgen.training.data.order import RowOrder


def test_an_epoch_shows_every_record_once() -> None:
    order = RowOrder([70, 3, 40], 1, chunk=8, window=3)
    epochs = [[(p.chunk.shard, p.position) for p in order.places(113 * epoch, 113)] for epoch in range(3)]
    for places in epochs:
        assert sorted(places) == [(0, i) for i in range(70)] + [(1, i) for i in range(3)] + [(2, i) for i in range(40)]
    assert epochs[0] != epochs[1] != epochs[2]
    mirrored = Counter(p.mirrored for p in order.places(0, 1130))
    assert 400 < mirrored[True] < 730


def test_rows_do_not_depend_on_earlier_calls() -> None:
    sizes = [70, 3, 40]
    whole = RowOrder(sizes, 1, chunk=8, window=3).places(0, 300)
    again = RowOrder(sizes, 1, chunk=8, window=3)
    pieces = [again.places(start, 10) for start in (290, 100, 0, 10)]
    assert pieces == [whole[start : start + 10] for start in (290, 100, 0, 10)]
    assert RowOrder(sizes, 2, chunk=8, window=3).places(0, 300) != whole


def test_neighbouring_rows_come_from_few_chunks() -> None:
    """So that a stream reads a chunk once per epoch."""
    order = RowOrder([1000] * 4, 0, chunk=10, window=5)
    for window in range(0, 4000, 50):
        assert len({place.chunk for place in order.places(window, 50)}) == 5


def test_a_place_lies_in_its_chunk() -> None:
    for place in RowOrder([70, 3, 40], 1, chunk=8, window=3).places(0, 300):
        assert place.chunk.start <= place.position < place.chunk.stop


def test_places_of_two_splits_differ() -> None:
    """Latents are cached by place, and positions of each split start at 0."""
    train, held_out = (set(RowOrder([40], 0, split).places(0, 400)) for split in ("train", "validation"))
    assert len(train) > 70
    assert not train & held_out
