"""Units of work: their samples, and names."""

from __future__ import annotations

from dentgen.documents.units import Unit, sample_key, unit_name


def test_samples_of_a_unit() -> None:
    unit = Unit(id=7, shard="a.tar", start=0, stop=5, records=3, shard_bytes=1)
    assert (unit.name, unit.samples(4)) == ("000007", 12)
    assert Unit(id=7, shard="a.tar", start=0, stop=5, records=3, shard_bytes=1, repeats=(1, 3, 1)).samples(4) == 20


def test_names() -> None:
    assert (unit_name(12), unit_name(1_234_567)) == ("000012", "1234567")
    assert sample_key("k", 3) == "k-v003"
