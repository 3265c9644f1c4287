"""Pictures that the gate rejected come out again as the gate saw them, and are shown in the report on request."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from dentgen.cli.app import app
from dentgen.errors import BuildError
from dentgen.pipeline.rejected_pictures import remake_rejected
from dentgen.pipeline.run import build
from dentgen.quality.labelled_pictures import fingerprint, fingerprint_text
from dentgen.report.html.gate import read_gate
from dentgen.shards.index_reader import read_index
from dentgen.shards.layout import SAMPLES
from dentgen.shards.plan_file import sealed_plan
from tests.builds.gated_build import Members, gate_of, gated_source, gated_spec, median_luminance


@pytest.fixture(scope="module")
def whole(demo_members: Members, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of which some pictures failed twice."""
    folder = tmp_path_factory.mktemp("gated")
    source = gated_source(folder / "conditions", demo_members)
    median = median_luminance(source, folder / "measured")
    build(gated_spec(source, folder / "out", gate_of(median)), use_ray=False)
    return folder / "out"


def rejected_rows(out: Path) -> dict[str, dict[str, object]]:
    return {row["key"]: row for row in pq.read_table(out / SAMPLES).to_pylist() if row["status"] == "rejected"}


@pytest.mark.slow
def test_pictures_are_those_that_the_gate_saw_last(whole: Path) -> None:
    rows, steps = rejected_rows(whole), list[tuple[int, int]]()
    found = remake_rejected(str(whole), sealed_plan(str(whole)), rows, lambda *step: steps.append(step))
    assert found.keys() == rows.keys() != set()
    assert all(row["retries"] == 1 for row in rows.values())
    for key, picture in found.items():
        assert fingerprint_text(fingerprint(picture)) == rows[key]["fingerprint"]
    assert steps[-1][0] == steps[-1][1] == len(steps) <= 4


@pytest.mark.slow
def test_only_units_that_are_needed_are_made(whole: Path) -> None:
    key, steps = min(rejected_rows(whole)), list[tuple[int, int]]()
    assert remake_rejected(str(whole), sealed_plan(str(whole)), [key], lambda *step: steps.append(step)).keys() == {key}
    assert steps == [(1, 1)]
    assert remake_rejected(str(whole), sealed_plan(str(whole)), []) == {}


@pytest.mark.slow
def test_the_report_shows_them_on_request(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole.parent, tmp_path / "copy")
    out = tmp_path / "copy" / "out"
    before = read_gate(str(out), sealed_plan(str(out)), read_index(str(out)))
    assert before is not None
    assert all(near.picture is None for near in before.best_rejected)
    run = CliRunner().invoke(app, ["report", str(out), "--rejected"])
    assert run.exit_code == 0, run.output
    page = (out / "report.html").read_text()
    for near in before.best_rejected:
        assert f'alt="Best rejected: {near.key}"' in page


@pytest.mark.slow
def test_a_source_that_is_gone_is_named(whole: Path) -> None:
    source = whole.parent / "conditions"
    (source / "a.tar").rename(source / "other.tar")
    try:
        with pytest.raises(BuildError) as caught:
            remake_rejected(str(whole), sealed_plan(str(whole)), rejected_rows(whole))
    finally:
        (source / "other.tar").rename(source / "a.tar")
    assert Path(str(caught.value.file)).resolve() == source.resolve()
    assert caught.value.found == "no condition shard a.tar"
