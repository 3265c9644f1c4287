"""Sets of phantoms on disk: counted by view and lighting, resumed, never mixed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dentgen.conditions.metadata import read_metadata
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.errors import SpecError
from dentgen.phantom.camera import VIEWS
from dentgen.phantom.rays.grid import GridRayMesh
from dentgen.phantom.rays.mesh import RayMesh
from dentgen.phantom.render import render_patient, render_series
from dentgen.phantom.series import Series
from dentgen.phantom.shards import (
    EDITION,
    LICENSE,
    PARAMETERS,
    VARIED_EDITION,
    PhantomSet,
    _parameters,
    _write_claimed_shard,
    phantom_members,
    write_phantoms,
)
from dentgen.phantom.surroundings.mix import Mix

RELIT = PhantomSet(count=13, seed=5, size=24, shard_size=3, lightings=2)


def written(folder: Path) -> dict[str, dict[str, bytes]]:
    return {raw.key: raw.members for shard in list_shards(str(folder)) for raw in read_records(shard)}


@pytest.fixture(scope="module")
def relit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("relit")
    assert write_phantoms(str(folder), RELIT, workers=1) == 5
    return folder


@pytest.mark.slow
def test_records_are_views_times_lightings(relit: Path) -> None:
    """Shard borders may cut through patients and views without changing a record."""
    expected = [phantom for n in range(2) for phantom in render_patient(5, n, 24, lightings=2)][:13]
    assert written(relit) == {phantom.key: phantom_members(phantom) for phantom in expected}


@pytest.mark.slow
def test_an_interrupted_run_resumes_to_the_same_bytes(relit: Path) -> None:
    before = {path.name: path.read_bytes() for path in relit.iterdir()}
    (relit / "phantoms-000001.tar").unlink()
    assert write_phantoms(str(relit), RELIT, workers=1) == 1
    assert {path.name: path.read_bytes() for path in relit.iterdir()} == before


@pytest.mark.slow
def test_series_are_written_one_view_of_each_patient_and_cut_anywhere(tmp_path: Path) -> None:
    phantoms = PhantomSet(count=6, seed=5, size=24, shard_size=4, series="orbit", frames=3)
    assert write_phantoms(str(tmp_path), phantoms, workers=1) == 2
    expected = [
        phantom for n in range(2) for phantom in render_series(5, n, 24, Series("orbit", 3), range(3))
    ]  # fmt: skip
    found = written(tmp_path)
    assert found == {phantom.key: phantom_members(phantom) for phantom in expected}
    assert {"motion_x.png", "motion_y.png"} < found["s5-p000001-left-orbit-f002"].keys()
    metadata = json.loads(found["s5-p000001-left-orbit-f002"]["json"])
    assert (metadata["series"], metadata["frame"]) == ("s5-p000001-left-orbit", 2)


def test_a_series_of_what_has_none_is_refused(tmp_path: Path) -> None:
    phantoms = PhantomSet(count=6, seed=5, size=24, shard_size=4, lightings=2, mirrors=True, series="light")
    with pytest.raises(SpecError) as caught:
        write_phantoms(str(tmp_path), phantoms)
    assert (caught.value.key, caught.value.found) == ("series", "mirrors, lightings beside it")


def test_a_series_that_would_end_early_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    phantoms = PhantomSet(count=7, seed=5, size=24, shard_size=4, series="orbit", frames=3)
    with pytest.raises(SpecError) as caught:
        write_phantoms(str(tmp_path), phantoms)
    assert (caught.value.key, caught.value.found) == ("count", 7)
    assert caught.value.expected == "a multiple of frames, 3: whole series"
    assert list(tmp_path.iterdir()) == []


def test_frames_are_a_parameter_of_series_alone() -> None:
    single = PhantomSet(count=1, seed=5, size=24, shard_size=5)
    assert _parameters(replace(single, frames=16)) == _parameters(single)
    series = replace(single, count=32, series="orbit")
    assert _parameters(replace(series, frames=16)) == {**_parameters(series), "frames": 16}


def test_options_at_their_defaults_are_not_written(tmp_path: Path) -> None:
    """Sets from before an option was added stay valid."""
    plain = PhantomSet(count=1, seed=5, size=24, shard_size=5)
    kept = {"edition": EDITION, "count": 1, "seed": 5, "size": 24, "shard_size": 5}
    (tmp_path / PARAMETERS).write_text(json.dumps(kept))
    assert write_phantoms(str(tmp_path), plain, workers=1) == 1
    assert list(written(tmp_path)) == [f"s5-p000000-{VIEWS[0]}"]


@pytest.mark.slow
def test_other_options_are_another_set(relit: Path) -> None:
    with pytest.raises(SpecError) as caught:
        write_phantoms(str(relit), PhantomSet(count=13, seed=5, size=24, shard_size=3), workers=1)
    assert caught.value.file.endswith(f"/{PARAMETERS}")
    assert caught.value.found == {**caught.value.expected, "lightings": 2}


@pytest.mark.slow
@pytest.mark.parametrize(("field", "value"), [("look", "scan"), ("dentition", "deciduous"), ("mirrors", True)])
def test_every_option_reaches_the_renderer_and_the_parameters(tmp_path: Path, field: str, value: Any) -> None:
    phantoms = replace(PhantomSet(count=1, seed=5, size=24, shard_size=5), **{field: value})
    write_phantoms(str(tmp_path), phantoms, workers=1)
    (expected,) = render_patient(5, 0, 24, VIEWS[:1], **{field: value})
    assert written(tmp_path) == {expected.key: phantom_members(expected)}
    assert json.loads((tmp_path / PARAMETERS).read_text())[field] == value


def test_sets_traced_by_the_grid_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RayMesh, "accelerator", GridRayMesh)
    assert _parameters(RELIT)["rays"] == "grid"


@pytest.mark.slow
@pytest.mark.ray
def test_a_cluster_renders_the_same_set(relit: Path, tmp_path: Path, ray_local: None) -> None:
    assert write_phantoms(str(tmp_path), RELIT, address="auto") == 5
    names = sorted(path.name for path in relit.iterdir())
    assert names == sorted(path.name for path in tmp_path.iterdir())
    assert all((relit / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)


def test_a_node_that_renders_differently_is_refused(tmp_path: Path) -> None:
    claimed = {**_parameters(RELIT), "edition": EDITION - 1}
    with pytest.raises(SpecError) as caught:
        _write_claimed_shard(str(tmp_path), RELIT, 0, claimed)
    assert (caught.value.found, caught.value.expected) == (_parameters(RELIT), claimed)
    assert not list(tmp_path.iterdir())


def test_scan_models_have_no_mirrors(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        write_phantoms(str(tmp_path), PhantomSet(1, 5, 24, 5, look="scan", mirrors=True), workers=1)
    assert caught.value.key == "mirrors"
    assert not list(tmp_path.iterdir())


def test_metadata_hold_the_attributes_as_readers_take_them() -> None:
    (phantom,) = render_patient(5, 0, 24, VIEWS[:1])
    content = phantom_members(phantom)["json"]
    assert json.loads(content)["synthetic"] is True
    read = read_metadata("here", content)
    assert read.attributes == {name: str(value) for name, value in phantom.attributes.items()}
    assert (read.group, read.split, read.prompt, read.license) == (
        phantom.group, phantom.split, phantom.prompt, LICENSE,
    )  # fmt: skip


@pytest.mark.slow
def test_a_varied_set_is_written_with_its_mix(tmp_path: Path) -> None:
    phantoms = PhantomSet(count=5, seed=5, size=16, shard_size=3, mix=Mix())
    assert write_phantoms(str(tmp_path), phantoms, workers=1) == 2
    expected = list(render_patient(5, 0, 16, mix=Mix()))
    assert written(tmp_path) == {phantom.key: phantom_members(phantom) for phantom in expected}
    assert Mix.model_validate(json.loads((tmp_path / PARAMETERS).read_text())["mix"]) == Mix()
    assert json.loads((tmp_path / PARAMETERS).read_text())["varied_edition"] == VARIED_EDITION


@pytest.mark.parametrize("own", [{"look": "scan"}, {"dentition": "deciduous"}, {"mirrors": True}])
def test_a_mix_decides_look_dentition_and_mirrors(own: dict[str, Any], tmp_path: Path) -> None:
    phantoms = replace(PhantomSet(count=5, seed=5, size=16, shard_size=3, mix=Mix()), **own)
    with pytest.raises(SpecError) as caught:
        write_phantoms(str(tmp_path), phantoms, workers=1)
    assert (caught.value.key, caught.value.found) == ("mix", f"{own} beside it")
    assert not list(tmp_path.iterdir())
