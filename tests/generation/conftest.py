"""Two records of ``JAWS``, and a bundle with more parts than the miniature has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from diffusers import AutoencoderTiny

from dentgen.models.bundle import Bundle, find_bundle
from tests.conftest import write_tar
from tests.diffusion.parts import full_control
from tests.generation.ways import Members


@pytest.fixture
def source(tmp_path: Path, demo_members: Members) -> Path:
    keys = sorted(demo_members)[:2]
    write_tar(tmp_path / "s" / "x.tar", {key: demo_members[key] for key in keys})
    return tmp_path / "s"


@pytest.fixture
def bundle(tmp_path: Path, miniature: Bundle) -> Path:
    """The miniature with a ControlNet of a pixel hint, a second adapter and a tiny decoder beside what it has."""
    folder = Path(shutil.copytree(find_bundle("miniature"), tmp_path / "bundle"))
    whole, _ = full_control(miniature)
    whole.save_pretrained(folder / "controlnets" / "edges")
    shutil.copytree(folder / "adapters" / "blended", folder / "adapters" / "segmentation", dirs_exist_ok=True)
    tiny = AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8, 8),
        num_encoder_blocks=(1, 1, 1, 1), num_decoder_blocks=(1, 1, 1, 1),
    )  # fmt: skip
    tiny.save_pretrained(folder / "tiny_decoder")
    return folder
