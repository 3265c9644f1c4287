"""Damaged bundle files load, or raise an error of dentgen with fields, in little memory and time."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dentgen.errors import DentgenError
from dentgen.models.bundle import find_bundle, load_bundle
from tests.conftest import ROOT
from tests.models.damage import FILES, Loader, damage
from tests.models.part_files import kohya_lora, save_lora

_SECONDS = 30
_MEGABYTES = 1000
#: peft's description of the LoRA below, every option that is read among it.
_DESCRIPTION = {
    "r": 4, "lora_alpha": 2, "use_rslora": False, "rank_pattern": {"time_embedding.linear_1": 4},
    "alpha_pattern": {"conv_in": 2}, "peft_type": "LORA", "bias": "none", "init_lora_weights": True,
}  # fmt: skip


def complete_bundle(folder: Path) -> Path:
    """The miniature with a small LoRA and an embedding."""
    bundle = Path(shutil.copytree(find_bundle("miniature"), folder / "bundle"))
    tensors = {key: value for key, value in kohya_lora(load_bundle("miniature")).items() if "unet_conv_in" in key}
    (save_lora(bundle, "look", tensors) / "adapter_config.json").write_text(json.dumps(_DESCRIPTION))
    (bundle / "embeddings").mkdir()
    save_file({"emb_params": torch.zeros(2, 128)}, bundle / "embeddings" / "smile.safetensors")
    return bundle


def check(bundle: Path, seeds: range) -> None:
    """Damage one file after the other, each time from its original state."""
    loader = Loader(bundle)
    contents = {file: (bundle / file).read_bytes() for file in FILES}
    assert [file for file in FILES if loader.problem(file)] == [], "nothing is wrong before"
    for seed in seeds:
        file = FILES[seed % len(FILES)]
        damage(bundle / file, np.random.default_rng(seed))
        start = time.monotonic()
        check_fields(seed, loader.problem(file))
        assert time.monotonic() - start < _SECONDS, (seed, file)
        (bundle / file).write_bytes(contents[file])


def check_fields(seed: int, error: DentgenError | None) -> None:
    if error is not None:
        assert error.file or error.key, (seed, error)
        assert error.message or (error.found != "" and error.expected != ""), (seed, error)


@pytest.mark.slow
def test_a_hundred_damaged_files(tmp_path: Path) -> None:
    check(complete_bundle(tmp_path), range(105))


@pytest.mark.long
def test_four_thousand_damaged_files_in_a_gigabyte(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.faults.test_damaged_bundles", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True)


def main() -> None:
    """Check every seed, within a gigabyte more than the libraries map."""
    bundle = complete_bundle(Path(sys.argv[1]))
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + _MEGABYTES * 2**20,) * 2)
    check(bundle, range(4000))


if __name__ == "__main__":
    main()
