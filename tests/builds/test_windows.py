"""Builds of pictures larger than what the UNet sees at once: whole, exact in their labels, without seams."""

from __future__ import annotations

import subprocess
import sys
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
from tests.conftest import JAWS, ROOT, problems, small_spec, write_tar

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


#: In a process of its own: make a panorama of the first maps, side by side with their mirror images.
SCRIPT = """
import re, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from dentgen.generation.generator import load_generator
from dentgen.generation.pipeline import Pipeline, PipelineRequest
from dentgen.spec.build import BuildSpec
from dentgen.studio.openers import list_records, opened

width, rows, pictures = map(int, sys.argv[2:])
model = {"adapters": {"blended": 1.5}, "decode_tile": 128, "encode_tile": 128}
sizes = {"conditions": {"size": [128, width]}, "sampling": {"steps": 2, "variants": 1, "window": 128}}
engine = {"slots": width // 64 - 1, "unet_batch": rows, "codec_batch": pictures}
generator = load_generator(BuildSpec.model_validate({"model": model, **sizes, "engine": engine}))
small = BuildSpec.model_validate({"model": model, "conditions": {"size": 128}})
record = opened(list_records(sys.argv[1])[0].read(), small)
halves = [(values, values[:, ::-1]) for values in record.conditions.values()]
maps = {name: np.concatenate(both * (width // 256), 1) for name, both in zip(record.conditions, halves)}
request = PipelineRequest(prompt="teeth", num_images_per_prompt=1, seed=1, key="p")
((_, picture),) = Pipeline.on(generator).stream([replace(request, **maps)])
assert np.asarray(picture).shape == (128, width, 3)
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def peak_megabytes(width: int, unet_batch: int, codec_batch: int) -> int:
    command = [sys.executable, "-c", SCRIPT, str(JAWS), *map(str, (width, unet_batch, codec_batch))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_memory_hardly_grows_with_length() -> None:
    """Measured: 625 MB, four times as long 714, and 1,478 with all windows and eight pictures in one call."""
    short, long, all_at_once = peak_megabytes(1024, 7, 1), peak_megabytes(4096, 7, 1), peak_megabytes(4096, 63, 8)
    assert long < short + 160
    assert all_at_once > long + 400


def test_windows_need_slots() -> None:
    wide: dict[str, Any] = {"conditions": {"size": [64, 160]}, "sampling": {"window": 64}, "engine": {"slots": 3}}
    with pytest.raises(ValidationError):
        BuildSpec.model_validate(wide)
    guided = {**wide, "engine": {"slots": 8}, "sampling": {"window": 64, "guidance_scale": 2.0}}
    assert BuildSpec.model_validate(guided).first_rows == 8


@settings(max_examples=100)
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
