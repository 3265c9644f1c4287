"""``dentgen models`` as people run it: what it says and its exit codes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest
import torch

from dentgen.cli.app import main
from dentgen.cli.models import Kind
from dentgen.models.bundle import bundle_digest, find_bundle
from dentgen.models.checkpoints.import_file import PLACES
from tests.models.checkpoints.ldm_net import MINIATURE_SHAPE, checkpoint, random_control, trained


@dataclass(frozen=True)
class Finished:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    def run(*arguments: str | Path) -> Finished:
        monkeypatch.setattr(sys, "argv", ["dentgen", "models", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Finished(int(ended.value.code or 0), printed.out, printed.err)

    return run


@pytest.mark.integration
def test_from_a_published_pair_to_a_bundle_that_verifies(models: Callable[..., Finished], tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(find_bundle("miniature"), bundle, ignore=shutil.ignore_patterns("controlnet", "adapters"))
    tensors = checkpoint(random_control(MINIATURE_SHAPE, "base"))
    torch.save(tensors, tmp_path / "base.ckpt")
    torch.save(trained(tensors), tmp_path / "lineart.ckpt")

    refused = models("import", tmp_path / "base.ckpt", bundle / "controlnet")
    assert refused.returncode == 2
    assert "base.ckpt: found a pickle, expected safetensors; --unsafe-pickle reads it" in refused.stderr

    looked = models("inspect", tmp_path / "base.ckpt", "--unsafe-pickle")
    assert looked.returncode == 0
    assert "base.ckpt: ctrlora-base, goes to BUNDLE/controlnet" in looked.stdout

    done = models("import", tmp_path / "base.ckpt", bundle / "controlnet", "--bundle", bundle, "--unsafe-pickle")
    assert done.returncode == 0, done.stderr
    assert f"ctrlora-base of {len(tensors)} tensors imported to {bundle}/controlnet; shapes fit {bundle}" in done.stdout
    done = models("import", tmp_path / "lineart.ckpt", bundle / "adapters" / "lineart", "--unsafe-pickle")
    assert "--bundle" in done.stdout

    verified = models("verify", bundle)
    assert verified.returncode == 0, verified.stderr
    assert f"0 problems, digest {bundle_digest(str(bundle), ())}" in verified.stdout
    assert "adapters/lineart: " in models("inspect", bundle).stdout

    again = models("import", tmp_path / "base.ckpt", bundle / "controlnet", "--unsafe-pickle")
    assert again.returncode == 2
    assert "found an existing file or folder" in again.stderr


@pytest.mark.integration
def test_a_bad_bundle_is_exit_code_1_and_a_line_each(models: Callable[..., Finished], tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(find_bundle("miniature"), tmp_path / "bundle"))
    (bundle / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    (bundle / "adapters" / "blended" / "adapter_model.safetensors").unlink()
    verified = models("verify", bundle)
    assert verified.returncode == 1
    assert "3 problems" in verified.stdout
    assert sum(line.startswith(str(bundle)) for line in verified.stderr.splitlines()) == 3


def test_kinds_are_those_that_import_knows() -> None:
    """Written twice, because the command line waits for no model library."""
    assert set(get_args(Kind)) == {"auto", *PLACES}


def test_wrong_use_is_exit_code_2(models: Callable[..., Finished], tmp_path: Path) -> None:
    missing = models("inspect", tmp_path / "nowhere.safetensors")
    assert missing.returncode == 2
    assert "nowhere.safetensors" in missing.stderr
    assert models("import", tmp_path / "nowhere.ckpt", tmp_path / "out", "--kind", "strange").returncode == 2
