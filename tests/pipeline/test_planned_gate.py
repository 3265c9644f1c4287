"""The gate when a build is planned: limits of the reference, digests, and what resuming compares."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dentgen.documents.gate import FigureLimit
from dentgen.errors import BundleError, SpecChangedError, SpecError
from dentgen.models.judges import judges_digest, judges_folder, load_judges, reference_figures
from dentgen.phantom.shards import PhantomSet, write_phantoms
from dentgen.pipeline.plan import adopt_plan, draft_plan, make_plan, standing_plan
from dentgen.pipeline.planned_gate import figures_digest, labelled_records, measured_figures
from dentgen.quality.gate import lost_share
from dentgen.records import FIGURES
from dentgen.shards.plan import BuildLocation, published_plan, without_places
from dentgen.shards.plan_file import read_plan
from dentgen.spec.build import BuildSpec
from tests.conftest import small_spec, write_tar


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("phantoms"))
    write_phantoms(folder, PhantomSet(20, 9002, 128, 10), 1)
    return folder


def spec_of(source: Path, out: Path, **gate: Any) -> BuildSpec:
    return small_spec(source, out, quality={"gate": gate})


def test_a_build_without_a_gate_plans_none(small_source: Path, tmp_path: Path) -> None:
    assert make_plan(small_spec(small_source, tmp_path)).gate is None


def test_limits_are_those_of_the_judges_reference(small_source: Path, tmp_path: Path) -> None:
    gate = make_plan(spec_of(small_source, tmp_path, lose=0.1)).gate
    assert gate is not None
    reference = {name: values for name, values in reference_figures("embedded").items() if name in FIGURES}
    assert gate.judges_sha256 == judges_digest("embedded")
    assert gate.reference_sha256 == figures_digest(reference)
    assert gate.reference_records == len(reference["miou"])
    assert gate.lost == pytest.approx(lost_share(reference, gate.limits), abs=1e-6)
    assert 0.05 <= gate.lost <= 0.1


@pytest.mark.slow
def test_limits_of_own_pictures(small_source: Path, tmp_path: Path, phantoms: str) -> None:
    limits = {"miou": {"least": 0.25}, "sharpness": None}
    gate = make_plan(spec_of(small_source, tmp_path, reference=phantoms, limits=limits, lose=0.0)).gate
    assert gate is not None
    assert (gate.reference_records, gate.lost) == (20, 0.0)
    assert gate.limits["miou"] == FigureLimit(least=0.25)
    assert "sharpness" not in gate.limits
    size = small_spec(small_source, tmp_path).conditions.shape
    figures = measured_figures(labelled_records(phantoms, size), load_judges("embedded"))
    assert gate.limits["boundary_f1"].least == pytest.approx(np.floor(figures["boundary_f1"].min() * 1e4) / 1e4)


def test_a_reference_without_labelled_pictures_is_refused(
    small_source: Path, tmp_path: Path, demo_members: dict[str, dict[str, bytes]]
) -> None:
    key, members = sorted(demo_members.items())[0]
    bare = write_tar(tmp_path / "bare" / "a.tar", {key: {n: b for n, b in members.items() if "photo" not in n}})
    with pytest.raises(SpecError) as caught:
        make_plan(spec_of(small_source, tmp_path, reference=str(bare.parent)))
    assert caught.value.key == "quality.gate.reference"


def test_judges_that_are_not_there_are_named(small_source: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        make_plan(spec_of(small_source, tmp_path, judges=str(tmp_path / "none")))
    assert str(caught.value.file).endswith("none")


def test_the_gate_is_stored_with_the_plan_and_is_part_of_its_digest(small_source: Path, tmp_path: Path) -> None:
    spec = spec_of(small_source, tmp_path / "out")
    draft = draft_plan(spec)
    assert adopt_plan(spec.output.path, draft).gate == draft.plan.gate
    stored = read_plan(spec.output.path)
    assert (stored.gate, stored.digest()) == (draft.plan.gate, draft.plan.digest())
    assert replace(stored, gate=None).digest() != stored.digest()
    other = stored.gate.model_copy(update={"lost": 0.5}) if stored.gate else None
    (tmp_path / "out" / "shards").mkdir()
    with pytest.raises(SpecChangedError, match="quality gate"):
        _adopt_written(spec.output.path, replace(draft, plan=replace(draft.plan, gate=other)))


def _adopt_written(out: str, draft: Any) -> None:
    """Adopt a plan for a build under which something was written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dentgen.pipeline.plan.anything_written", lambda _: True)
        adopt_plan(out, draft)


def test_places_of_judges_move_with_the_build_and_are_not_given_away(small_source: Path, tmp_path: Path) -> None:
    own = tmp_path / "private" / "judges"
    shutil.copytree(judges_folder("embedded"), own)
    plan = make_plan(spec_of(small_source, tmp_path / "out", judges=str(own)))
    published = published_plan(plan, plan.spec.output.path)
    assert published.spec.quality.judges == "./../private/judges"
    location = BuildLocation.of_plan(published, plan.spec.output.path)
    assert Path(location.judges).resolve() == own
    assert published.at(location).spec.quality.judges == location.judges
    assert without_places(plan.spec).quality.judges == "judges"
    assert make_plan(spec_of(small_source, tmp_path / "out")).gate == plan.gate


def test_a_build_that_goes_on_needs_the_judges_that_it_began_with(small_source: Path, tmp_path: Path) -> None:
    own = tmp_path / "judges"
    shutil.copytree(judges_folder("embedded"), own)
    spec = spec_of(small_source, tmp_path / "out", judges=str(own))
    adopt_plan(spec.output.path, draft_plan(spec))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dentgen.pipeline.plan.anything_written", lambda _: True)
        assert standing_plan(spec.output.path, spec) is not None
        assert standing_plan(spec.output.path, spec_of(small_source, tmp_path / "out")) is not None, "they are the same"
        (own / "dilated.safetensors").unlink()
        with pytest.raises(SpecChangedError) as caught:
            standing_plan(spec.output.path, spec)
    assert caught.value.key == "quality.gate.judges"


def test_what_judges_is_part_of_the_environment_only_with_a_gate(small_source: Path, tmp_path: Path) -> None:
    plain = make_plan(small_spec(small_source, tmp_path))
    gated = make_plan(spec_of(small_source, tmp_path))
    assert set(gated.environment) - set(plain.environment) == {"imagehash", "scipy"}
