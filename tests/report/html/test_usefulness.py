"""Whether the gate helps: what the report shows of stored figures, and what it does not show."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dentgen.errors import StorageError
from dentgen.report.html.page import write_report
from dentgen.report.html.usefulness import CurvePoint, draw_usefulness, read_usefulness, store_usefulness
from dentgen.shards.plan import Plan
from tests.report.fake_builds import fake_build, written
from tests.report.html.test_speed_chart import labels

FIGURES = {
    "pictures": 12.0, "rejected_share": 0.3,
    "miou_accepted": 0.81, "miou_accepted_spread": 0.01, "miou_rejected": 0.8, "miou_rejected_spread": 0.02,
    "miou_all": 0.82, "miou_all_spread": 0.0,
    "curve_050": 0.79, "curve_050_spread": 0.01, "curve_100": 0.83, "curve_100_spread": 0.005,
}  # fmt: skip


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def plan(out: Path) -> Plan:
    return fake_build(out, [written(0)])


def page(out: Path, plan: Plan) -> str:
    return Path(write_report(str(out), plan)).read_text()


def test_stored_figures_become_a_curve_and_a_table(out: Path, plan: Plan) -> None:
    assert read_usefulness(str(out)) is None
    assert "usefulness" not in page(out, plan)
    store_usefulness(str(out), "dentgen measure <OUT>", FIGURES)
    found = read_usefulness(str(out))
    assert found is not None
    assert found.curve == (CurvePoint(100, 0.83, 0.005), CurvePoint(50, 0.79, 0.01))
    assert (found.pictures, found.kinds["rejected"]) == (12, (0.8, 0.02))
    text = page(out, plan)
    assert 'aria-label="Line chart of mean IoU over the kept share of pictures: 100 % 0.830 50 % 0.790."' in text
    assert "<code>dentgen measure &lt;OUT&gt;</code>" in text
    for svg in draw_usefulness(found).values():
        ElementTree.fromstring(svg)
        assert labels(svg, "x") == ["100 %", "50 %"]
        assert labels(svg, "y") == ["0.78", "0.80", "0.82", "0.84"]


def test_figures_of_another_version_are_not_shown(out: Path, plan: Plan) -> None:
    store_usefulness(str(out), "measured", FIGURES)
    file = out / "gate_usefulness.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "index_sha256": "0" * 64}))
    assert read_usefulness(str(out)) is None


@pytest.mark.parametrize("content", ["", "{}", '{"format": 2}', "[1, 2]"])
def test_a_damaged_file_is_left_out(out: Path, plan: Plan, content: str) -> None:
    (out / "gate_usefulness.json").write_text(content)
    assert "usefulness" not in page(out, plan)


def test_figures_that_are_missing_leave_it_out(out: Path, plan: Plan) -> None:
    store_usefulness(str(out), "measured", {name: value for name, value in FIGURES.items() if name != "miou_all"})
    assert read_usefulness(str(out)) is None


def test_there_has_to_be_a_build(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        store_usefulness(str(tmp_path), "measured", FIGURES)
