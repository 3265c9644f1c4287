"""Bundles of random weights load like any other; the miniature's networks stand for large ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dentgen.benchmark.random_bundle import write_parts, write_random_bundle
from dentgen.errors import BundleError
from dentgen.models.bundle import load_bundle
from dentgen.models.bundle_check import bundle_problems
from tests.models.part_files import same_bits


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_written_bundle_loads_and_has_no_problem(tmp_path: Path, dtype: torch.dtype) -> None:
    bundle, names = load_bundle("miniature"), ("one", "other")
    write_parts(bundle, tmp_path / "bundle", seed=0, dtype=dtype, adapters=names)
    loaded = load_bundle(str(tmp_path / "bundle"), names)
    assert same_bits(loaded.unet, bundle.unet), "the miniature has the precision of fp16"
    assert not same_bits(loaded.shared["one"], loaded.shared["other"])
    assert list(bundle_problems(str(tmp_path / "bundle"))) == []


@pytest.mark.slow
def test_seeds_decide_the_adapters(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_parts(load_bundle("miniature"), tmp_path / name, seed=seed, dtype=torch.float16, adapters=["one"])
    files = [(tmp_path / name / "adapters/one/adapter_model.safetensors").read_bytes() for name in "abc"]
    assert files[0] == files[1] != files[2]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        write_random_bundle(tmp_path)
    assert caught.value.file == str(tmp_path)
