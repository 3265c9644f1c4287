"""The filter over a folder: planned = accepted + rejected, equal bytes, other limits without drawing anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from dentgen.curation.pairs.filter import Panel
from dentgen.curation.pairs.limits import PairLimits
from dentgen.curation.pairs.panel_shards import panel_samples
from dentgen.curation.pairs.run import FilteredPairs, filter_panels
from dentgen.relight.shading import draw_lightings
from tests.curation.pairs.panels import good_panels, phantoms
from tests.curation.pairs.test_panel_shards import write_panels


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two mouths, one of them with a black panel."""
    samples = []
    for number in range(2):
        panels: list[Panel] = good_panels(number)
        if number:
            panels[2] = replace(panels[2], picture=np.zeros_like(panels[2].picture))
        record = phantoms()[number]
        samples += panel_samples(record, "s.tar", panels, draw_lightings(5, record.key, 3))
    folder = tmp_path_factory.mktemp("pairs") / "out"
    write_panels(folder, samples)
    return folder


def tables(out: Path) -> list[bytes]:
    return [(out / name).read_bytes() for name in ("panels.parquet", "pairs.parquet")]


def test_every_panel_is_accepted_or_rejected_with_its_reason(out: Path) -> None:
    found = filter_panels(str(out), PairLimits())
    assert found == FilteredPairs("shared", planned=6, accepted=5, pairs=8, reasons={"luminance": 1})
    assert found.acceptance == pytest.approx(5 / 6)
    rows = pq.read_table(out / "panels.parquet").to_pylist()
    assert len(rows) == found.planned
    assert [row["status"] for row in rows].count("accepted") == found.accepted
    (black,) = [row for row in rows if row["status"] == "rejected"]
    assert (black["record"], black["panel"], black["reason"], black["value"]) == (phantoms()[1].key, 2, "luminance", 0)
    assert (black["threshold"], black["shard"]) == (PairLimits().least_luminance, "x.tar")
    pairs = pq.read_table(out / "pairs.parquet").to_pylist()
    assert len(pairs) == found.pairs
    accepted = {row["key"] for row in rows if row["status"] == "accepted"}
    assert {key for row in pairs for key in (row["reference"], row["target"])} == accepted
    assert all(row["reference"][:-4] == row["target"][:-4] == row["record"] for row in pairs)


def test_the_same_filter_writes_the_same_bytes(out: Path) -> None:
    filter_panels(str(out), PairLimits())
    first = tables(out)
    filter_panels(str(out), PairLimits())
    assert tables(out) == first


@pytest.mark.integration
def test_other_limits_and_scorers_filter_anew(out: Path) -> None:
    strict = filter_panels(str(out), PairLimits(least_miou=1.0))
    assert (strict.accepted, strict.pairs, strict.reasons) == (0, 0, {"luminance": 1, "miou": 5})

    def no(_one: NDArray[np.uint8], _other: NDArray[np.uint8]) -> float:
        return 0.0

    assert filter_panels(str(out), PairLimits(), scorer=no).reasons == {"luminance": 1, "score": 5}
    assert filter_panels(str(out), PairLimits()).accepted == 5
