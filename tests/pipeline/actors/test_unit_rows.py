"""The rows of a build's Dataset: one block per unit, and the unit comes back whole."""

from __future__ import annotations

from dataclasses import replace

from dentgen.documents.units import Unit
from dentgen.pipeline.actors.unit_rows import _Units, unit_of_row

UNIT = Unit(id=0, shard="a.tar", start=0, stop=2, records=2, shard_bytes=9)
UNITS = [
    UNIT,
    replace(UNIT, id=1, duplicates=(1,), repeats=(3, 1), first_byte=512, end_byte=2**40),
    replace(UNIT, id=2, shard="ö/b.tar", problem='b.tar: "cut off"\n', problem_key="k"),
]


def test_every_unit_is_a_block_of_its_own_whatever_the_parallelism() -> None:
    tasks = _Units(UNITS).get_read_tasks(parallelism=1)
    blocks = [list(task()) for task in tasks]
    assert [len(block) for block in blocks] == [1, 1, 1]
    texts = [block[0].column("unit").to_pylist() for block in blocks]
    assert [[unit_of_row(text) for text in column] for column in texts] == [[unit] for unit in UNITS]
