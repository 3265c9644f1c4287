"""Drawing of panels: resumed, never mixed, equal bytes, a line per record that cannot be drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dentgen.curation.pairs.panel_shards import read_panel_sets
from dentgen.errors import SpecError
from dentgen.pipeline.pairs import DrawnPanels, PanelSettings, draw_panels
from dentgen.spec.build import BuildSpec
from tests.conftest import write_tar

Members = dict[str, dict[str, bytes]]
TWO = PanelSettings("shared", lights=2, seed=3)


def spec() -> BuildSpec:
    values: dict[str, Any] = {"conditions": {"size": 64}, "sampling": {"steps": 1}, "engine": {"slots": 4}}
    return BuildSpec.model_validate(values)


def content(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "panels").iterdir())}


@pytest.mark.integration
def test_a_run_resumes_to_the_same_bytes(small_source: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert draw_panels(str(small_source), str(whole), spec(), TWO) == DrawnPanels(5, 5, ())
    draw_panels(str(small_source), str(cut), spec(), TWO)
    (cut / "panels" / "b.tar").unlink()
    assert draw_panels(str(small_source), str(cut), spec(), TWO) == DrawnPanels(5, 2, ())
    assert content(cut) == content(whole)
    assert list(content(whole)) == ["a.tar", "b.tar"]
    assert len(list(read_panel_sets(str(whole), 2))) == 5


@pytest.mark.slow
def test_a_count_takes_the_first_records(small_source: Path, tmp_path: Path) -> None:
    counted = PanelSettings("shared", lights=2, seed=3, count=4)
    assert draw_panels(str(small_source), str(tmp_path / "out"), spec(), counted) == DrawnPanels(4, 4, ())
    keys = [one.record for one in read_panel_sets(str(tmp_path / "out"), 2)]
    draw_panels(str(small_source), str(tmp_path / "all"), spec(), TWO)
    assert keys == [one.record for one in read_panel_sets(str(tmp_path / "all"), 2)][:4]


@pytest.mark.slow
def test_panels_that_were_drawn_otherwise_are_not_mixed_in(small_source: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    draw_panels(str(small_source), out, spec(), TWO)
    for settings in (
        PanelSettings("shared", 2, seed=4),
        PanelSettings("row", 2, seed=3),
        PanelSettings("shared", 3, 3),
    ):
        with pytest.raises(SpecError) as caught:
            draw_panels(str(small_source), out, spec(), settings)
        assert caught.value.file == f"{out}/pairs.json"
    with pytest.raises(SpecError) as inside:
        draw_panels(str(small_source), f"{small_source}/out", spec(), TWO)
    assert inside.value.key == "OUT"


@pytest.mark.integration
def test_records_that_cannot_be_drawn_are_named(tmp_path: Path, demo_members: Members) -> None:
    first, second = sorted(demo_members)[:2]
    bare = {name: value for name, value in demo_members[first].items() if name != "normal.png"}
    write_tar(tmp_path / "s" / "x.tar", {first: bare, second: demo_members[second]})
    drawn = draw_panels(str(tmp_path / "s"), str(tmp_path / "out"), spec(), TWO)
    assert (drawn.records, drawn.drawn, len(drawn.problems)) == (1, 1, 1)
    assert first in drawn.problems[0]
