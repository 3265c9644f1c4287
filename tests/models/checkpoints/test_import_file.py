"""Imported files of every kind load as parts of a bundle; files that do not fit leave nothing behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub.repocard import metadata_load
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dentgen.errors import BundleError
from dentgen.models.bundle import Bundle, find_bundle, load_bundle
from dentgen.models.bundle_licenses import bundle_licenses
from dentgen.models.checkpoints.file import Kind, write_tensors
from dentgen.models.checkpoints.import_file import (
    empty_control,
    import_checkpoint,
)
from dentgen.models.parts import empty_text_encoder, empty_unet
from dentgen.spec.model import ModelSpec
from tests.models.checkpoints.inversions import TOOLS
from tests.models.checkpoints.ldm_net import MINIATURE_SHAPE, LdmShape, checkpoint, random_control, trained
from tests.models.part_files import kohya_lora

#: A control net whose text width is not that of the miniature.
OTHER = LdmShape(widths=(64, 128, 160), attended=(False, True, False), layers=1, context=96, rank=2)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The miniature without control nets."""
    left_out = shutil.ignore_patterns("controlnet", "adapters")
    return Path(shutil.copytree(find_bundle("miniature"), tmp_path / "bundle", ignore=left_out))


@pytest.mark.integration
def test_an_imported_base_and_adapter_load_as_parts_of_a_bundle(bundle: Path, tmp_path: Path) -> None:
    tensors = checkpoint(random_control(MINIATURE_SHAPE, "base"))
    torch.save({"state_dict": tensors}, tmp_path / "base.ckpt")
    torch.save(trained(checkpoint(random_control(MINIATURE_SHAPE, "adapter"))), tmp_path / "lineart.ckpt")
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


def test_a_license_is_declared_beside_the_weights(tmp_path: Path) -> None:
    write_tensors(checkpoint(random_control(MINIATURE_SHAPE, "base")), tmp_path / "base.safetensors")
    for name, license in (("free", ""), ("bound", "creativeml-openrail-m")):
        import_checkpoint(tmp_path / "base.safetensors", tmp_path / name, "ctrlora-adapter", license=license)
    assert metadata_load(tmp_path / "bound" / "README.md") == {"license": "creativeml-openrail-m"}
    assert not (tmp_path / "free" / "README.md").exists()


def test_the_license_of_an_embedding_stands_in_its_header(bundle: Path, tmp_path: Path) -> None:
    vectors = torch.ones(2, empty_text_encoder(bundle).config.hidden_size)
    for name, own in (("plain", {}), ("told", {"modelspec.license": "CreativeML Open RAIL-M"})):
        save_file({"emb_params": vectors}, tmp_path / f"{name}.safetensors", metadata=own)
    (bundle / "embeddings").mkdir()
    given = {"a": ("plain", "CC-BY-4.0"), "b": ("told", ""), "c": ("plain", "")}
    for name, (source, license) in given.items():
        place = bundle / "embeddings" / f"{name}.safetensors"
        import_checkpoint(tmp_path / f"{source}.safetensors", place, bundle=str(bundle), license=license)
    found = {name: bundle_licenses(ModelSpec(adapters={}, embeddings=(name,)), bundle) for name in given}
    assert found == {
        "a": ("CC-BY-4.0", "apache-2.0"),
        "b": ("apache-2.0", "creativeml-openrail-m"),
        "c": ("apache-2.0",),
    }


def test_the_adapter_in_a_base_file_can_be_imported(tmp_path: Path) -> None:
    write_tensors(checkpoint(random_control(MINIATURE_SHAPE, "base")), tmp_path / "base.safetensors")
    done = import_checkpoint(tmp_path / "base.safetensors", tmp_path / "last", "ctrlora-adapter")
    assert (done.kind, done.checked) == ("ctrlora-adapter", False)
    assert json.loads((tmp_path / "last" / "adapter_config.json").read_text())["r"] == 2


def test_a_lora_keeps_keys_and_header(bundle: Path, tmp_path: Path, miniature: Bundle) -> None:
    file = tmp_path / "look.safetensors"
    save_file(kohya_lora(miniature), file, metadata={"ss_network_dim": "4"})
    done = import_checkpoint(file, bundle / "loras" / "look", bundle=str(bundle))
    assert done.kind == "lora"
    with safe_open(bundle / "loras" / "look" / "lora.safetensors", "pt") as opened:
        assert opened.metadata() == {"ss_network_dim": "4", "format": "pt"}
    assert load_file(bundle / "loras" / "look" / "lora.safetensors").keys() == kohya_lora(miniature).keys()
    load_bundle(str(bundle), loras={"look": 1.0})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "key", "found"),
    [
        ({"lora_unet_nowhere.alpha": torch.ones(1)}, "lora_unet_nowhere.alpha", "no such module in the bundle"),
        ({"lora_te2_text_model_final.alpha": torch.ones(1)}, "lora_te2_text_model_final.alpha", "no such module"),
        ({"lora_unet_conv_in.dora_scale": torch.ones(1)}, "lora_unet_conv_in.dora_scale", "an unknown kind of tensor"),
        ({"lora_unet_conv_in.lora_up.weight": None}, "unet conv_in", "no up half"),
        ({"lora_unet_conv_in.lora_up.weight": torch.ones(64, 3)}, "unet conv_in", "shapes [4, 4, 3, 3] and [64, 3]"),
    ],
)
@pytest.mark.parametrize("like", ["miniature", None])
def test_loras_that_cannot_be_placed_are_refused_with_and_without_a_bundle(
    tmp_path: Path, change: dict[str, torch.Tensor | None], key: str, found: str, like: str | None
) -> None:
    plain = {"lora_down.weight": torch.ones(4, 4, 3, 3), "lora_up.weight": torch.ones(64, 4)}
    changed = {**{f"lora_unet_conv_in.{name}": value for name, value in plain.items()}, **change}
    save_file({name: value for name, value in changed.items() if value is not None}, tmp_path / "look.safetensors")
    with pytest.raises(BundleError) as caught:
        import_checkpoint(tmp_path / "look.safetensors", tmp_path / "loras" / "look", "lora", bundle=like)
    assert (caught.value.file, caught.value.key) == (str(tmp_path / "look.safetensors"), key)
    assert str(caught.value.found).startswith(found)
    assert not (tmp_path / "loras" / "look").exists()


def test_options_that_are_not_supported_are_refused_without_a_bundle(tmp_path: Path, miniature: Bundle) -> None:
    save_file(kohya_lora(miniature), tmp_path / "look.safetensors")
    assert not import_checkpoint(tmp_path / "look.safetensors", tmp_path / "out").checked
    (tmp_path / "adapter_config.json").write_text('{"init_lora_weights": "pissa"}')
    with pytest.raises(BundleError) as caught:
        import_checkpoint(tmp_path / "look.safetensors", tmp_path / "again")
    assert (caught.value.key, caught.value.found) == ("init_lora_weights", "'pissa'")


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
    with pytest.raises(BundleError) as caught:
        import_checkpoint(tmp_path / "e.pt", bundle / "embeddings" / "smile", unsafe_pickle=True)
    assert (caught.value.file, caught.value.found) == (str(bundle / "embeddings" / "smile"), "suffix ''")


@pytest.mark.parametrize("tool", TOOLS)
def test_textual_inversions_of_every_tool_are_imported(tmp_path: Path, tool: str) -> None:
    vectors = torch.randn(1 if "one" in tool else 2, 128, generator=torch.Generator().manual_seed(0))
    TOOLS[tool](vectors.clone(), tmp_path / "e.bin")
    with pytest.raises(BundleError) as caught:
        import_checkpoint(tmp_path / "e.bin", tmp_path / "smile.safetensors")
    assert caught.value.found == "a pickle"
    done = import_checkpoint(tmp_path / "e.bin", tmp_path / "smile.safetensors", bundle="miniature", unsafe_pickle=True)
    assert done.kind == "embedding"
    assert torch.equal(load_file(tmp_path / "smile.safetensors")["emb_params"], vectors)


@pytest.mark.parametrize(
    ("kind", "key", "found"),
    [
        ("ctrlora-base", "attn2.to_k.weight", "shape [128, 96]"),
        ("ctrlora-adapter", "attn2.to_k.lora_layer.down.weight", "shape [2, 96]"),
        ("lora", "", "an unknown kind of tensor"),
        ("embedding", "", "keys ["),
        ("single-file", "model.diffusion_model.*", "no such tensors"),
    ],
)
def test_files_that_do_not_fit_leave_nothing_behind(tmp_path: Path, kind: Kind, key: str, found: str) -> None:
    file, out = tmp_path / "base.safetensors", tmp_path / "parts" / "new.safetensors"
    write_tensors(checkpoint(random_control(OTHER, "base")), file)
    with pytest.raises(BundleError) as caught:
        import_checkpoint(file, out, kind, bundle="miniature")
    error = caught.value
    assert error.file == str(file)
    assert error.key.endswith(key)
    assert error.found.startswith(found)
    assert not out.parent.exists() or not list(out.parent.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write_tensors({"emb_params": torch.zeros(1, 128)}, tmp_path / "a.safetensors")
    before = (tmp_path / "a.safetensors").read_bytes()
    with pytest.raises(BundleError) as caught:
        import_checkpoint(tmp_path / "a.safetensors", tmp_path / "a.safetensors")
    assert caught.value.expected == "a new path"
    assert (tmp_path / "a.safetensors").read_bytes() == before


def test_a_single_file_requires_a_bundle(tmp_path: Path) -> None:
    write_tensors({"model.diffusion_model.out.2.bias": torch.zeros(4)}, tmp_path / "a.safetensors")
    with pytest.raises(BundleError) as caught:
        import_checkpoint(tmp_path / "a.safetensors", tmp_path / "out")
    assert (caught.value.key, caught.value.found) == ("bundle", "weights alone")


def test_a_bundle_without_a_network_is_named(tmp_path: Path) -> None:
    for load, part in ((empty_unet, "unet"), (empty_control, "controlnet"), (empty_text_encoder, "text_encoder")):
        with pytest.raises(BundleError) as caught:
            load(tmp_path)
        assert caught.value.file == str(tmp_path / part)
