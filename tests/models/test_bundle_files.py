"""Files of a bundle that are loaded: the digest covers exactly these, and downloads fetch no others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub.utils._paths import filter_repo_objects
from safetensors.torch import load_file, save_file

from dentgen.errors import BundleError
from dentgen.models.bundle import Bundle, bundle_digest, load_bundle
from dentgen.models.bundle_files import downloaded_names, loaded_files, weights_files, weights_main_file
from tests.models.part_files import same_bits

NETWORKS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model",
            "controlnet": "diffusion_pytorch_model"}  # fmt: skip
#: What the repository of Stable Diffusion 1.5 holds, shortened.
HUB = [
    "README.md", "model_index.json", "v1-5-pruned.ckpt", "v1-5-pruned-emaonly.safetensors", "v1-inference.yaml",
    "feature_extractor/preprocessor_config.json", "safety_checker/config.json", "safety_checker/model.safetensors",
    "safety_checker/model.fp16.safetensors", "scheduler/scheduler_config.json", "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json", "tokenizer/tokenizer_config.json", "tokenizer/vocab.json",
    *(f"{part}/config.json" for part in ("text_encoder", "unet", "vae")),
    *(f"text_encoder/{name}" for name in ("model.safetensors", "model.fp16.safetensors", "pytorch_model.bin")),
    *(f"{part}/diffusion_pytorch_model.{end}" for part in ("unet", "vae")
      for end in ("safetensors", "fp16.safetensors", "non_ema.safetensors", "bin", "fp16.bin")),
]  # fmt: skip
NEEDED = {
    "README.md", "scheduler/scheduler_config.json", "tokenizer/merges.txt", "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json", "tokenizer/vocab.json", "text_encoder/config.json",
    "text_encoder/model.safetensors", "unet/config.json", "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
}  # fmt: skip


def shard(folder: Path, stem: str, variant: str = "") -> None:
    """Cut a network's weights into two files with an index, as diffusers does."""
    tensors = load_file(folder / f"{stem}.safetensors")
    names = sorted(tensors)
    files = [f"{stem}{variant}-0000{i}-of-00002.safetensors" for i in (1, 2)]
    halves = (names[: len(names) // 2], names[len(names) // 2 :])
    for file, half in zip(files, halves, strict=True):
        save_file({name: tensors[name] for name in half}, folder / file, metadata={"format": "pt"})
    places = {name: file for file, half in zip(files, halves, strict=True) for name in half}
    content = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / f"{stem}.safetensors.index{variant}.json").write_text(json.dumps(content))
    (folder / f"{stem}.safetensors").unlink()


def to_variant(folder: Path, stem: str) -> None:
    (folder / f"{stem}.safetensors").rename(folder / f"{stem}.fp16.safetensors")


FORMS: dict[str, Callable[[Path, str], None]] = {
    "in several files": shard,
    "fp16 alone": to_variant,
    "fp16 in several files": lambda folder, stem: shard(folder, stem, ".fp16"),
}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_weights_in_every_form_load(bundle_copy: Path, miniature: Bundle, form: str) -> None:
    for part, stem in NETWORKS.items():
        FORMS[form](bundle_copy / part, stem)
    loaded = load_bundle(str(bundle_copy), ["blended"])
    for name in ("unet", "vae", "text_encoder", "control"):
        assert same_bits(getattr(loaded, name), getattr(miniature, name)), name
    assert loaded.digest == bundle_digest(str(bundle_copy), ["blended"])


@pytest.mark.slow
def test_plain_weights_come_first_and_the_digest_covers_what_is_loaded(bundle_copy: Path, miniature: Bundle) -> None:
    for part, stem in NETWORKS.items():
        save_file({"other": torch.ones(1)}, bundle_copy / part / f"{stem}.fp16.safetensors")
        (bundle_copy / part / "notes.txt").write_text("not loaded")
    (bundle_copy / "safety_checker").mkdir()
    (bundle_copy / "safety_checker" / "model.safetensors").write_bytes(b"not loaded")
    (bundle_copy / "adapters" / "blended" / "optimizer.safetensors").write_bytes(b"not loaded")
    loaded = load_bundle(str(bundle_copy), ["blended"])
    assert loaded.digest == miniature.digest
    assert same_bits(loaded.unet, miniature.unet)


COVERED = (
    "unet/diffusion_pytorch_model-00002-of-00002.safetensors", "unet/diffusion_pytorch_model.safetensors.index.json",
    "unet/config.json", "tokenizer/tokenizer.json", "scheduler/scheduler_config.json",
    "adapters/blended/adapter_config.json",
)  # fmt: skip
DAMAGED = (
    "[]", "{}", '{"weight_map": {"a": "../x.safetensors"}}', "{", '{"weight_map": 3}',
    '{"weight_map": {"a": "gone.safetensors"}}', '{"weight_map": {"a": 3}}',
)  # fmt: skip


@pytest.mark.parametrize("part", COVERED)
def test_every_loaded_file_is_covered(bundle_copy: Path, part: str) -> None:
    shard(bundle_copy / "unet", "diffusion_pytorch_model")
    before = bundle_digest(str(bundle_copy), ["blended"])
    with (bundle_copy / part).open("ab") as file:
        file.write(b" ")
    assert bundle_digest(str(bundle_copy), ["blended"]) != before


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_indexes_are_an_error(bundle_copy: Path, content: str) -> None:
    shard(bundle_copy / "unet", "diffusion_pytorch_model")
    index = bundle_copy / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(content)
    with pytest.raises(BundleError) as caught:
        weights_files(bundle_copy / "unet")
    assert caught.value.file == str(index)
    assert bundle_digest(str(bundle_copy)), "it is identified all the same"


def test_a_network_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        weights_files(tmp_path)
    assert (caught.value.file, caught.value.found) == (str(tmp_path), "no weights in safetensors")


def test_the_choice_is_that_of_the_libraries() -> None:
    """diffusers takes an index where there is one, transformers a single file."""
    for stem, first in (("model", "model.safetensors"), ("diffusion_pytorch_model", "")):
        names = {f"{stem}.safetensors", f"{stem}.safetensors.index.json", f"{stem}.fp16.safetensors"}
        assert weights_main_file(names, stem) == (first or f"{stem}.safetensors.index.json")
    assert weights_main_file({"pytorch_model.bin"}, "model") is None


def test_a_hub_model_is_downloaded_without_what_is_not_loaded() -> None:
    assert set(downloaded_names(HUB)) == NEEDED
    assert set(filter_repo_objects(HUB, allow_patterns=downloaded_names(HUB))) == NEEDED
    sharded = ["unet/diffusion_pytorch_model.safetensors.index.json", "unet/config.json", "unet/notes.json",
               *(f"unet/diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)),
               *(f"unet/diffusion_pytorch_model.fp16-0000{i}-of-00002.safetensors" for i in (1, 2)),
               "adapters/a/adapter_model.safetensors", "adapters/a/b/adapter_model.safetensors"]  # fmt: skip
    assert downloaded_names(sharded) == sorted([*sharded[:2], *sharded[3:5], sharded[7]])


def test_a_folder_of_links_is_the_same_bundle(bundle_copy: Path, tmp_path: Path, miniature: Bundle) -> None:
    """The hub's cache: links to contents elsewhere."""
    snapshot, blobs = tmp_path / "snapshots" / "abc", tmp_path / "blobs"
    blobs.mkdir()
    for i, file in enumerate(sorted(file for file in bundle_copy.rglob("*") if file.is_file())):
        link = snapshot / file.relative_to(bundle_copy)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file, blobs / str(i))
        link.symlink_to(Path("../" * len(link.relative_to(tmp_path).parts[:-1])) / "blobs" / str(i))
    for name in (str(snapshot), f"{snapshot}/", f"file://{snapshot}"):
        assert bundle_digest(name, ["blended"]) == miniature.digest, name
    assert same_bits(load_bundle(str(snapshot), ["blended"]).unet, miniature.unet)


def test_files_of_parts_are_listed_in_order(bundle_copy: Path) -> None:
    names = [file.name for file in loaded_files(bundle_copy, "tokenizer")]
    assert names == ["tokenizer.json", "tokenizer_config.json"]
    assert loaded_files(bundle_copy, "nothing") == []
