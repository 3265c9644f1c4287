"""Checkpoint files: pickles only when asked for and only tensors, damage is named, places are written whole."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dentgen.errors import BundleError
from dentgen.models.checkpoints.file import is_pickle, kind_of, read_shapes, read_tensors, write_new, write_tensors

TENSORS = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(2, dtype=torch.bfloat16)}


def test_safetensors_are_read_as_they_are(tmp_path: Path) -> None:
    write_tensors({**TENSORS, "t": TENSORS["b"].T}, tmp_path / "in" / "x.safetensors")
    read = read_tensors(tmp_path / "in" / "x.safetensors")
    assert torch.equal(read["t"], TENSORS["b"].T)
    assert read["a"].dtype == torch.bfloat16
    shapes = read_shapes(tmp_path / "in" / "x.safetensors")
    assert {n: (v.shape, v.dtype, v.is_meta) for n, v in shapes.items()} == {
        n: (v.shape, v.dtype, True) for n, v in read.items()
    }


def test_a_pickle_needs_the_flag_and_gives_tensors_only(tmp_path: Path) -> None:
    file, shared = tmp_path / "x.ckpt", torch.ones(4)
    torch.save({"state_dict": {"a": shared, "b": shared[:2]}, "global_step": 3}, file)
    for read in (read_tensors, read_shapes):
        with pytest.raises(BundleError, match=r"x\.ckpt: found a pickle, expected safetensors; --unsafe-pickle"):
            read(file)
    tensors = read_tensors(file, unsafe_pickle=True)
    assert tensors.keys() == {"a", "b"}
    write_tensors(tensors, tmp_path / "y.safetensors")
    assert read_shapes(file, unsafe_pickle=True)["b"].shape == (2,)


def test_a_pickle_by_another_name_is_one_too(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    torch.save(TENSORS, file)
    assert is_pickle(file)
    with pytest.raises(BundleError, match="found a pickle"):
        read_tensors(file)
    old = tmp_path / "old.pt"
    torch.save(TENSORS, old, _use_new_zipfile_serialization=False)
    assert is_pickle(old)
    assert read_tensors(old, unsafe_pickle=True).keys() == TENSORS.keys()


def test_a_safetensors_header_of_128_bytes_is_no_pickle(tmp_path: Path) -> None:
    for length in range(40, 120):
        save_file({"a" * length: torch.zeros(1)}, tmp_path / "x.safetensors")
        if (tmp_path / "x.safetensors").read_bytes()[0] == 0x80:
            assert read_tensors(tmp_path / "x.safetensors")
            return
    pytest.fail("no name gave such a header")


class Runs:
    """What a malicious checkpoint does: code that runs when it is read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.file,))


@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, protocol: int) -> None:
    file, mark = tmp_path / "x.ckpt", tmp_path / "ran"
    torch.save({"a": Runs(mark)}, file, pickle_protocol=protocol)
    with pytest.raises(BundleError, match=r"x\.ckpt: found .*, expected a whole pickle of nothing but tensors"):
        read_tensors(file, unsafe_pickle=True)
    file.write_bytes(pickle.dumps({"a": Runs(mark)}, protocol=protocol))
    with pytest.raises(BundleError, match="nothing but tensors"):
        read_tensors(file, unsafe_pickle=True)
    assert not mark.exists()


@pytest.mark.parametrize("keep", [0, 4, 20, -4])
def test_damage_is_named(tmp_path: Path, keep: int) -> None:
    for name in ("x.safetensors", "x.ckpt"):
        file = tmp_path / name
        write_tensors(TENSORS, file) if name.endswith("s") else torch.save(TENSORS, file)
        file.write_bytes(file.read_bytes()[:keep])
        with pytest.raises(BundleError, match=rf"{name}: found .*, expected a whole"):
            read_tensors(file, unsafe_pickle=True)
    with pytest.raises(BundleError, match="nowhere"):
        read_tensors(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        (["control_model.input_blocks.0.0.weight", "control_model.zero_convs.0.0.weight"], "ctrlora-base"),
        (["control_model.time_embed.0.lora_layer.up.weight"], "ctrlora-adapter"),
        (["model.diffusion_model.out.2.bias", "control_model.input_blocks.0.0.weight"], "single-file"),
        (["lora_unet_conv_in.alpha", "lora_unet_conv_in.lora_up.weight"], "lora"),
        (["lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight"], "lora"),
        (["unet.conv_in.lora_A.weight"], "lora"),
        (["unet.conv_in.lora.down.weight"], "lora"),
        (["down_blocks.0.attentions.0.attn1.processor.to_q_lora.down.weight"], "lora"),
        (["emb_params"], "embedding"),
        (["string_to_param.*"], "embedding"),
        (["<cat-toy>"], "embedding"),
    ],
)
def test_kinds_are_told_apart_by_keys(keys: list[str], kind: str) -> None:
    assert kind_of(keys, "x") == kind


def test_what_is_none_of_them_is_refused() -> None:
    for keys in ([], ["conv_in.weight"]):
        with pytest.raises(BundleError, match=r"x: found keys like .*, expected a ctrLoRA base"):
            kind_of(keys, "x")
    with pytest.raises(BundleError, match="in a bundle's own layout"):
        kind_of(["base_model.model.controlnet_mid_block.weight", "base_model.model.a.lora_A.weight"], "x")


def test_a_place_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def fails(folder: Path) -> None:
        write_tensors(TENSORS, folder / "x.safetensors")
        raise BundleError("no more")

    with pytest.raises(BundleError, match="no more"):
        write_new(tmp_path / "new", fails)
    assert list(tmp_path.iterdir()) == []
    for _ in range(2):
        if (tmp_path / "new").exists():
            with pytest.raises(BundleError, match="found something there already"):
                write_new(tmp_path / "new", fails)
        else:
            write_new(tmp_path / "new", lambda folder: write_tensors(TENSORS, folder / "x.safetensors"))
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert load_file(tmp_path / "new" / "x.safetensors").keys() == TENSORS.keys()


def test_what_comes_in_between_is_not_overwritten(tmp_path: Path) -> None:
    def beaten(place: Path, *, folder: bool) -> None:
        write_tensors(TENSORS, place / "x.safetensors" if folder else place)
        other = tmp_path / "new" / "other" if folder else tmp_path / "new"
        other.parent.mkdir(exist_ok=True)
        other.write_text("theirs")

    for folder in (True, False):
        with pytest.raises(BundleError, match="expected a new place"):
            write_new(tmp_path / "new", lambda place, folder=folder: beaten(place, folder=folder))  # type: ignore[misc]
        theirs = tmp_path / "new" / "other" if folder else tmp_path / "new"
        assert theirs.read_text() == "theirs"
        theirs.unlink()
        if folder:
            theirs.parent.rmdir()
