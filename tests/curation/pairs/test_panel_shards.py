"""Panels in condition shards: read back as they were drawn, by every reader, and never mixed up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dentgen.conditions.decode import decode_record
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.curation.pairs.panel_shards import (
    PANELS_FOLDER,
    PARAMETERS,
    PanelParameters,
    panel_samples,
    parameters_bytes,
    read_panel_sets,
    read_parameters,
)
from dentgen.errors import ConditionError, SpecError
from dentgen.relight.shading import RELIT, draw_lightings
from dentgen.shards.parameters import claim_parameters
from dentgen.shards.tar import tar_bytes
from tests.curation.pairs.panels import good_panels, phantoms

PANELS = PanelParameters(layout="shared", lights=3, seed=5, count=None, spec={}, bundle_digest="")


def write_panels(out: Path, samples: list[tuple[str, dict[str, bytes]]]) -> str:
    (out / PANELS_FOLDER).mkdir(parents=True)
    (out / PANELS_FOLDER / "x.tar").write_bytes(tar_bytes(samples))
    claim_parameters(str(out), PARAMETERS, parameters_bytes(PANELS))
    return str(out)


def samples_of(*numbers: int) -> list[tuple[str, dict[str, bytes]]]:
    """Samples of the good panels of some phantoms."""
    made = []
    for number in numbers:
        record = phantoms()[number]
        made += panel_samples(record, "s.tar", good_panels(number), draw_lightings(5, record.key, 3))
    return made


def test_panels_are_read_back_record_by_record(tmp_path: Path) -> None:
    out = write_panels(tmp_path / "out", samples_of(0, 1))
    sets = list(read_panel_sets(out, 3))
    assert [one.record for one in sets] == [phantoms()[n].key for n in (0, 1)]
    for number, one in enumerate(sets):
        assert one.keys == tuple(f"{one.record}-l{i:02d}" for i in range(3))
        for panel, drawn in zip(one.panels, good_panels(number), strict=True):
            assert np.array_equal(panel.picture, drawn.picture)
            assert np.array_equal(panel.record.conditions["lighting"], drawn.record.conditions["lighting"])


def test_every_reader_takes_panels_for_records_with_photos(tmp_path: Path) -> None:
    out = write_panels(tmp_path / "out", samples_of(0))
    (shard,) = list_shards(f"{out}/{PANELS_FOLDER}")
    records = [decode_record(raw, ("segmentation", "lighting"), with_photo=True) for raw in read_records(shard)]
    source = phantoms()[0]
    assert {(record.group, record.split, record.license) for record in records} == {
        (source.group, source.split, source.license)
    }
    assert all(record.attributes["lighting"] == RELIT and record.photo is not None for record in records)


def test_a_lost_panel_is_named(tmp_path: Path) -> None:
    out = write_panels(tmp_path / "out", samples_of(0)[:2])
    with pytest.raises(ConditionError) as caught:
        list(read_panel_sets(out, 3))
    assert (caught.value.found, caught.value.expected) == ("2 panels of the last record", "3")


def test_panels_of_two_records_are_not_mixed(tmp_path: Path) -> None:
    first, second = samples_of(0), samples_of(1)
    out = write_panels(tmp_path / "out", [*first[:2], *second[:1]])
    with pytest.raises(ConditionError) as caught:
        list(read_panel_sets(out, 3))
    assert second[0][0] in caught.value.found


def test_parameters_are_read_as_they_were_claimed(tmp_path: Path) -> None:
    out = write_panels(tmp_path / "out", samples_of(0))
    assert read_parameters(out) == PANELS
    for content in (b'{"layout": "circle"}', b"no JSON"):
        (tmp_path / "out" / PARAMETERS).write_bytes(content)
        with pytest.raises(SpecError) as caught:
            read_parameters(out)
        assert caught.value.file == f"{out}/{PARAMETERS}"
    with pytest.raises(SpecError) as missing:
        read_parameters(str(tmp_path))
    assert missing.value.found == "no such file"
