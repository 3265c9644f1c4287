"""Tables of panels and pairs: equal bytes, every row, differences of lights, and files that are none."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dentgen.curation.pairs.filter import PairVerdict, PanelVerdict
from dentgen.curation.pairs.limits import PANEL_FIGURES, Rejection
from dentgen.curation.pairs.tables import (
    PAIR_SCHEMA,
    PANEL_SCHEMA,
    main_direction,
    pair_row,
    panel_row,
    parquet_bytes,
    read_pairs,
)
from dentgen.errors import StorageError
from dentgen.relight.shading import ClayLighting, DirectionalLight
from tests.curation.pairs.panels import good_panels

LEFT = ClayLighting((DirectionalLight((-1, 0, 1)),), style="side")
RIGHT = ClayLighting((DirectionalLight((1, 0, 1)),), style="side")
VERDICT = PairVerdict(0, 1, {"agreement": 0.91, "identity": 0.87654, "light_difference": 0.1})


def test_a_rejected_panel_has_reason_value_and_threshold() -> None:
    verdict = PanelVerdict({"luminance": 0.4, "miou": math.nan}, Rejection("miou", None, 0.6))
    row = panel_row("jaw-l01", "jaw", 1, "row", verdict, LEFT)
    assert set(row) == set(PANEL_SCHEMA.names)
    assert (row["status"], row["reason"], row["value"], row["threshold"]) == ("rejected", "miou", None, 0.6)
    assert (row["luminance"], row["miou"], row["identity"]) == (0.4, None, None)
    assert (row["light_x"], row["light_y"], row["light_z"]) == (-0.7071, 0.0, 0.7071)


def test_an_accepted_panel_has_no_reason() -> None:
    row = panel_row("jaw-l00", "jaw", 0, "row", PanelVerdict({"miou": 0.9}), LEFT)
    assert (row["status"], row["reason"], row["value"], row["threshold"]) == ("accepted", "", None, None)


def test_a_pair_has_the_differences_of_its_lights() -> None:
    panels = good_panels()
    row = pair_row(VERDICT, panels, ["a", "b", "c"], [LEFT, RIGHT, LEFT], record="jaw", layout="shared")
    assert set(row) == set(PAIR_SCHEMA.names)
    assert (row["record"], row["layout"]) == ("jaw", "shared")
    assert (row["reference"], row["target"], row["identity"], row["score"]) == ("a", "b", 0.8765, None)
    assert row["turn_degrees"] == pytest.approx(90)
    back = pair_row(
        PairVerdict(1, 0, VERDICT.figures), panels, ["a", "b", "c"], [LEFT, RIGHT, LEFT], record="jaw", layout="shared"
    )
    assert back["light_level_delta"] == -row["light_level_delta"]
    assert back["light_map_correlation"] == row["light_map_correlation"]


def test_lamps_that_cancel_out_have_no_direction() -> None:
    both = ClayLighting((DirectionalLight((1, 0, 0)), DirectionalLight((-1, 0, 0))))
    assert main_direction(both) == (0, 0, 0)


def test_equal_rows_are_equal_bytes(tmp_path: Path) -> None:
    rows = [panel_row(f"jaw-l{i:02d}", "jaw", i, "row", PanelVerdict({"miou": 0.9}), LEFT) for i in range(3)]
    content = parquet_bytes(rows, PANEL_SCHEMA)
    assert content == parquet_bytes(rows, PANEL_SCHEMA)
    (tmp_path / "panels.parquet").write_bytes(content)
    table = pq.read_table(tmp_path / "panels.parquet")
    assert table.schema.equals(PANEL_SCHEMA)
    assert table["key"].to_pylist() == ["jaw-l00", "jaw-l01", "jaw-l02"]
    assert set(PANEL_FIGURES) <= set(table.column_names)


def test_read_pairs_reads_what_was_written(tmp_path: Path) -> None:
    row = pair_row(VERDICT, good_panels(), ["a", "b", "c"], [LEFT, RIGHT, LEFT], record="jaw", layout="shared")
    (tmp_path / "pairs.parquet").write_bytes(parquet_bytes([row], PAIR_SCHEMA))
    assert read_pairs(str(tmp_path / "pairs.parquet")) == [("a", "b")]


def test_other_tables_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "panels.parquet"
    file.write_bytes(parquet_bytes([], PANEL_SCHEMA))
    with pytest.raises(StorageError) as error:
        read_pairs(str(file))
    assert error.value.file == str(file)
    assert "pairs" in str(error.value.expected)
