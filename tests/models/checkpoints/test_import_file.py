"""Files of every kind become parts of a bundle that loads them; what does not fit leaves nothing behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dentgen.errors import BundleError
from dentgen.models.bundle import Bundle, find_bundle, load_bundle
from dentgen.models.checkpoints.file import write_tensors
from dentgen.models.checkpoints.import_file import import_checkpoint
from tests.models.checkpoints.ldm_net import LdmShape, checkpoint, random_control, trained
from tests.models.test_lora import kohya

#: A control net for the miniature's UNet.
SHAPE = LdmShape(widths=(64, 128, 160), attended=(True, True, False), layers=1, context=128, rank=2)
OTHER = LdmShape(widths=(64, 128, 160), attended=(True, True, False), layers=1, context=96, rank=2)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The miniature without control nets."""
    left_out = shutil.ignore_patterns("controlnet", "adapters")
    return Path(shutil.copytree(find_bundle("miniature"), tmp_path / "bundle", ignore=left_out))


def test_a_published_pair_is_used_like_the_miniatures_own(bundle: Path, tmp_path: Path) -> None:
    tensors = checkpoint(random_control(SHAPE, "base"))
    torch.save({"state_dict": tensors}, tmp_path / "base.ckpt")
    torch.save(trained(checkpoint(random_control(SHAPE, "adapter"))), tmp_path / "lineart.ckpt")
    name = str(bundle)
    base = import_checkpoint(tmp_path / "base.ckpt", bundle / "controlnet", bundle=name, unsafe_pickle=True)
    adapter = import_checkpoint(
        tmp_path / "lineart.ckpt", bundle / "adapters" / "lineart", bundle=name, unsafe_pickle=True
    )
    assert (base.kind, adapter.kind) == ("ctrlora-base", "ctrlora-adapter")
    assert (base.tensors, base.checked) == (len(tensors), True)
    loaded = load_bundle(name, ["lineart"])
    assert loaded.control is not None
    assert not loaded.control.training


def test_the_adapter_in_a_base_file_can_be_had_too(tmp_path: Path) -> None:
    write_tensors(checkpoint(random_control(SHAPE, "base")), tmp_path / "base.safetensors")
    done = import_checkpoint(tmp_path / "base.safetensors", tmp_path / "last", "ctrlora-adapter")
    assert (done.kind, done.checked) == ("ctrlora-adapter", False)
    assert json.loads((tmp_path / "last" / "adapter_config.json").read_text())["r"] == 2


def test_a_lora_keeps_keys_and_header(bundle: Path, tmp_path: Path, miniature: Bundle) -> None:
    file = tmp_path / "look.safetensors"
    save_file(kohya(miniature), file, metadata={"ss_network_dim": "4"})
    done = import_checkpoint(file, bundle / "loras" / "look", bundle=str(bundle))
    assert done.kind == "lora"
    with safe_open(bundle / "loras" / "look" / "lora.safetensors", "pt") as opened:
        assert opened.metadata() == {"ss_network_dim": "4", "format": "pt"}
    assert load_file(bundle / "loras" / "look" / "lora.safetensors").keys() == kohya(miniature).keys()
    load_bundle(str(bundle), loras={"look": 1.0})


def test_a_lora_in_pefts_layout_keeps_its_description(bundle: Path, tmp_path: Path) -> None:
    layer = "base_model.model.conv_in"
    tensors = {f"{layer}.lora_A.weight": torch.ones(2, 4, 3, 3), f"{layer}.lora_B.weight": torch.ones(64, 2, 1, 1)}
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 4}')
    import_checkpoint(tmp_path / "adapter_model.safetensors", bundle / "loras" / "look", bundle=str(bundle))
    changed, base = load_bundle(str(bundle), loras={"look": 0.5}), load_bundle(str(bundle))
    difference = changed.unet.conv_in.weight - base.unet.conv_in.weight
    assert torch.allclose(difference, torch.full_like(difference, 2 * 0.5 * 4 / 2), atol=1e-5)


def test_an_embedding_becomes_one_file(bundle: Path, tmp_path: Path) -> None:
    vectors = torch.randn(2, 128, generator=torch.Generator().manual_seed(0))
    torch.save(
        {"string_to_token": {"*": 265}, "string_to_param": {"*": torch.nn.Parameter(vectors)}, "name": "smile"},
        tmp_path / "e.pt",
    )
    out = bundle / "embeddings" / "smile.safetensors"
    import_checkpoint(tmp_path / "e.pt", out, bundle=str(bundle), unsafe_pickle=True)
    assert torch.equal(load_file(out)["emb_params"], vectors)
    assert len(load_bundle(str(bundle), embeddings=["smile"]).words) == 1
    with pytest.raises(BundleError, match=r"smile: expected a file NAME\.safetensors for an embedding"):
        import_checkpoint(tmp_path / "e.pt", bundle / "embeddings" / "smile", unsafe_pickle=True)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("ctrlora-base", r"attn2\.to_k\.weight: found shape \[64, 96\], expected \[64, 128\]"),
        ("ctrlora-adapter", r"attn2\.to_k\.lora_layer\.down\.weight: found shape \[2, 96\], expected \[2, 128\]"),
        ("lora", "control_model.*expected a plain LoRA"),
        ("embedding", "expected one embedding"),
        ("single-file", r"found no model\.diffusion_model\.\*"),
    ],
)
def test_what_does_not_fit_leaves_nothing_behind(tmp_path: Path, kind: str, message: str) -> None:
    write_tensors(checkpoint(random_control(OTHER, "base")), tmp_path / "base.safetensors")
    out = tmp_path / "parts" / "new.safetensors"
    with pytest.raises(BundleError, match=rf"base\.safetensors: .*{message}"):
        import_checkpoint(tmp_path / "base.safetensors", out, kind, bundle="miniature")  # type: ignore[arg-type]
    assert not out.parent.exists() or not list(out.parent.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write_tensors({"emb_params": torch.zeros(1, 128)}, tmp_path / "a.safetensors")
    before = (tmp_path / "a.safetensors").read_bytes()
    with pytest.raises(BundleError, match="found something there already"):
        import_checkpoint(tmp_path / "a.safetensors", tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == before


def test_a_single_file_alone_is_not_enough(tmp_path: Path) -> None:
    write_tensors({"model.diffusion_model.out.2.bias": torch.zeros(4)}, tmp_path / "a.safetensors")
    with pytest.raises(BundleError, match="expected --bundle for tokenizer, schedule and configs"):
        import_checkpoint(tmp_path / "a.safetensors", tmp_path / "out")
