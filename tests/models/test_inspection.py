"""Descriptions of checkpoint files and bundles."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dentgen.errors import BundleError
from dentgen.models.bundle import Bundle, bundle_digest
from dentgen.models.checkpoints.file import write_tensors
from dentgen.models.inspection import describe_bundle, describe_file, is_bundle
from dentgen.models.trained_sampling import TrainedSampling
from tests.models.checkpoints.ldm_file import ldm_tensors
from tests.models.checkpoints.ldm_net import LdmShape, checkpoint, random_control, trained
from tests.models.part_files import kohya_lora, lcm_with_header, respelt_lora

BASE = checkpoint(random_control(LdmShape(rank=4), "base"))


def test_a_base_and_an_adapter_are_described(tmp_path: Path) -> None:
    file = tmp_path / "base.safetensors"
    write_tensors({name: value.half() for name, value in BASE.items()}, file)
    lines = list(describe_file(file))
    count = sum(value.numel() for value in BASE.values())
    assert lines == [
        f"{file}: ctrlora-base, goes to BUNDLE/controlnet",
        "holds: 13 zero convolutions, 28 attention norms, 82 LoRA layers of rank 4 (not imported)",
        f"488 tensors, {count:,} parameters, float16",
        f"sha256: {hashlib.sha256(file.read_bytes()).hexdigest()}",
        "fits: text width 24; control block widths 32, 64, 96",
    ]
    write_tensors(trained(BASE), file)
    lines = list(describe_file(file))
    assert lines[0].endswith(": ctrlora-adapter, goes to BUNDLE/adapters/NAME")
    assert lines[1] == "holds: 13 zero convolutions, 28 attention norms, 82 LoRA layers of rank 4"
    assert lines[4] == "fits: text width 24; control block widths 32, 64, 96"


def test_other_kinds_are_described(tmp_path: Path, miniature: Bundle) -> None:
    file, fits = tmp_path / "x.safetensors", "fits: text width 128 (embedded miniature)"
    for tensors, kind, holds in (
        (kohya_lora(miniature), "lora", "109 LoRA layers of rank 4, 12 of them in the text encoder"),
        (respelt_lora(miniature, "peft"), "lora", "109 LoRA layers of rank 4, 12 of them in the text encoder"),
        ({"emb_params": torch.zeros(3, 128)}, "embedding", "3 vectors"),
        (ldm_tensors(miniature), "single-file", "248 of model.diffusion_model.*"),
    ):
        save_file({name: value.contiguous() for name, value in tensors.items()}, file)
        lines = list(describe_file(file))
        assert f": {kind}, goes to" in lines[0]
        assert holds in lines[1], lines[1]
        assert lines[4] == fits


def test_the_model_family_is_known_by_the_width_of_an_embedding(tmp_path: Path) -> None:
    torch.save({"<cat>": torch.zeros(768)}, tmp_path / "learned_embeds.bin")
    with pytest.raises(BundleError) as caught:
        list(describe_file(tmp_path / "learned_embeds.bin"))
    assert caught.value.found == "a pickle"
    lines = list(describe_file(tmp_path / "learned_embeds.bin", unsafe_pickle=True))
    assert lines[1] == "holds: 1 vectors"
    assert lines[4] == "fits: text width 768 (Stable Diffusion 1.5)"


def test_a_bundle_is_described() -> None:
    lines = "\n".join(describe_bundle("miniature"))
    assert "unet: 248 tensors, 6,941,060 parameters, float16" in lines
    assert "adapters/blended: 84 tensors, 281,088 parameters, float16" in lines
    assert f"digest: {bundle_digest('miniature')}" in lines
    assert "fits: text width 128" in lines


def test_a_bundle_tells_how_its_students_are_sampled(bundle_copy: Path) -> None:
    lcm_with_header(bundle_copy, "phased", TrainedSampling("ddim", (999, 499)).header())
    lines = [line for line in describe_bundle(str(bundle_copy)) if line.startswith("loras/")]
    assert [line.partition("; ")[2] for line in lines] == ["", "for ddim at 999, 499"]


def test_a_name_is_a_bundle_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"")
    assert is_bundle("miniature")
    assert is_bundle(str(tmp_path))
    assert is_bundle("s3://bucket/bundle")
    assert not is_bundle(str(tmp_path / "weights"))
    assert not is_bundle("nowhere.safetensors"), "a missing file is not looked up on the hub"
