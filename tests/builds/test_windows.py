"""Builds of pictures larger than what the UNet sees at once: whole, exact in their labels, without seams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dentgen.diffusion.window_grid import fitted
from dentgen.diffusion.windows import cover
from dentgen.errors import SpecError
from dentgen.models.native_size import with_size
from dentgen.pipeline.run import build
from dentgen.shards.reader import read_samples
from dentgen.spec.build import BuildSpec
from tests.conftest import problems, small_spec, write_tar

Members = dict[str, dict[str, bytes]]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, demo_members: Members) -> Path:
    folder = tmp_path_factory.mktemp("conditions")
    write_tar(folder / "a.tar", dict(sorted(demo_members.items())[:2]))
    return folder


def pictures(out: Path) -> dict[str, bytes]:
    return {key: members["png"] for key, members in read_samples(str(out))}


@pytest.mark.integration
def test_a_window_as_large_as_the_picture_changes_nothing(source: Path, tmp_path: Path) -> None:
    for name, sampling in (("plain", {}), ("window", {"window": 64})):
        build(small_spec(source, tmp_path / name, sampling={"variants": 1, "steps": 2, **sampling}), use_ray=False)
    assert pictures(tmp_path / "plain") == pictures(tmp_path / "window")


@pytest.mark.integration
def test_a_windowed_build_is_whole(source: Path, tmp_path: Path) -> None:
    spec = small_spec(
        source, tmp_path / "out", conditions={"size": [64, 160]}, engine={"slots": 5},
        sampling={"variants": 1, "steps": 2, "window": 64},
    )  # fmt: skip
    assert (spec.max_windows, spec.first_rows) == (4, 4)
    build(spec, use_ray=False)
    assert problems(tmp_path / "out") == []
    assert len(pictures(tmp_path / "out")) == 2


def test_windows_need_slots() -> None:
    wide: dict[str, Any] = {"conditions": {"size": [64, 160]}, "sampling": {"window": 64}, "engine": {"slots": 3}}
    with pytest.raises(ValidationError):
        BuildSpec.model_validate(wide)
    guided = {**wide, "engine": {"slots": 8}, "sampling": {"window": 64, "guidance_scale": 2.0}}
    assert BuildSpec.model_validate(guided).first_rows == 8


@settings(deadline=None, max_examples=100)
@given(st.integers(8, 60), st.sampled_from([64, 128, 512]), st.floats(0, 0.9))
def test_the_spec_counts_the_windows_that_the_engine_has(cells: int, window: int, overlap: float) -> None:
    spec = BuildSpec.model_validate(
        {
            "conditions": {"size": [64, 8 * cells]}, "engine": {"slots": 200},
            "sampling": {"window": window, "window_overlap": overlap},
        }
    )  # fmt: skip
    latents = (8, cells)
    assert spec.max_windows == len(cover(latents, fitted(latents, window // 8), overlap))


def test_windows_of_a_size_that_the_bundle_tells_need_slots_too() -> None:
    spec = BuildSpec.model_validate({"sampling": {"window": 64}, "engine": {"slots": 4}})
    with pytest.raises(SpecError):
        with_size(spec)


def test_without_windows_digests_are_what_they_were() -> None:
    assert "window" not in BuildSpec().deciding()["sampling"]
    assert BuildSpec.model_validate({"sampling": {"window": 64}}).digest() != BuildSpec().digest()
