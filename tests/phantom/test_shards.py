"""Sets of phantoms on disk: counted by view and lighting, resumed, never mixed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dentgen.cli.app import app
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.errors import SpecError
from dentgen.phantom.camera import VIEWS
from dentgen.phantom.render import render_patient
from dentgen.phantom.shards import (
    EDITION,
    PARAMETERS,
    PhantomSet,
    _parameters,
    _write_claimed_shard,
    phantom_members,
    write_phantoms,
)

RELIT = PhantomSet(count=13, seed=5, size=24, shard_size=3, lightings=2)


def written(folder: Path) -> dict[str, dict[str, bytes]]:
    return {raw.key: raw.members for shard in list_shards(str(folder)) for raw in read_records(shard)}


@pytest.fixture(scope="module")
def relit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("relit")
    assert write_phantoms(str(folder), RELIT, workers=1) == 5
    return folder


def test_records_are_views_times_lightings(relit: Path) -> None:
    """Whatever a shard's border cuts through, every record is the one that the patient alone has."""
    expected = [phantom for n in range(2) for phantom in render_patient(5, n, 24, lightings=2)][:13]
    assert written(relit) == {phantom.key: phantom_members(phantom) for phantom in expected}


def test_a_killed_run_goes_on_to_the_same_bytes(relit: Path) -> None:
    before = {path.name: path.read_bytes() for path in relit.iterdir()}
    (relit / "phantoms-000001.tar").unlink()
    assert write_phantoms(str(relit), RELIT, workers=1) == 1
    assert {path.name: path.read_bytes() for path in relit.iterdir()} == before


def test_options_at_their_defaults_are_not_written(tmp_path: Path) -> None:
    """A folder from before an option was invented and one from after are the same set."""
    plain = PhantomSet(count=1, seed=5, size=24, shard_size=5)
    kept = {"edition": EDITION, "count": 1, "seed": 5, "size": 24, "shard_size": 5}
    (tmp_path / PARAMETERS).write_text(json.dumps(kept))
    assert write_phantoms(str(tmp_path), plain, workers=1) == 1
    assert list(written(tmp_path)) == [f"s5-p000000-{VIEWS[0]}"]


def test_other_options_are_another_set(relit: Path) -> None:
    with pytest.raises(SpecError, match="choose another folder"):
        write_phantoms(str(relit), PhantomSet(count=13, seed=5, size=24, shard_size=3), workers=1)


def test_the_command_takes_the_options(tmp_path: Path) -> None:
    arguments = ("--count", "3", "--seed", "5", "--size", "24", "--lightings", "2", "--look", "scan")
    run = CliRunner().invoke(app, ["phantom", str(tmp_path), *arguments])
    assert "3 records" in run.output, run.output
    expected = list(render_patient(5, 0, 24, VIEWS[:2], lightings=2, look="scan"))[:3]
    assert written(tmp_path) == {phantom.key: phantom_members(phantom) for phantom in expected}
    assert json.loads((tmp_path / PARAMETERS).read_text())["look"] == "scan"
    assert CliRunner().invoke(app, ["phantom", str(tmp_path), "--look", "painting"]).exit_code == 2


@pytest.mark.ray
def test_a_cluster_renders_the_same_set(relit: Path, tmp_path: Path, ray_local: None) -> None:
    assert write_phantoms(str(tmp_path), RELIT, address="auto") == 5
    names = sorted(path.name for path in relit.iterdir())
    assert names == sorted(path.name for path in tmp_path.iterdir())
    assert all((relit / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)


def test_a_node_that_renders_differently_is_refused(tmp_path: Path) -> None:
    claimed = {**_parameters(RELIT), "edition": EDITION - 1}
    with pytest.raises(SpecError, match="the set is of"):
        _write_claimed_shard(str(tmp_path), RELIT, 0, claimed)
    assert not list(tmp_path.iterdir())


def test_scan_models_have_no_mirrors(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="photographs alone"):
        write_phantoms(str(tmp_path), PhantomSet(1, 5, 24, 5, look="scan", mirrors=True), workers=1)
