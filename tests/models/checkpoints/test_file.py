"""Checkpoint files: safe reading of pickles, detection of kinds, errors for damaged files, atomic writing."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dentgen.errors import BundleError
from dentgen.models.checkpoints.file import (
    check_tensors,
    is_pickle,
    kind_of,
    read_shapes,
    read_tensors,
    write_new,
    write_tensors,
)

TENSORS = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(2, dtype=torch.bfloat16)}


def test_safetensors_keep_their_precision(tmp_path: Path) -> None:
    write_tensors({**TENSORS, "t": TENSORS["b"].T}, tmp_path / "in" / "x.safetensors")
    read = read_tensors(tmp_path / "in" / "x.safetensors")
    assert torch.equal(read["t"], TENSORS["b"].T)
    assert read["a"].dtype == torch.bfloat16
    shapes = read_shapes(tmp_path / "in" / "x.safetensors")
    assert {n: (v.shape, v.dtype, v.is_meta) for n, v in shapes.items()} == {
        n: (v.shape, v.dtype, True) for n, v in read.items()
    }


def test_pickles_are_read_only_on_request(tmp_path: Path) -> None:
    file, shared = tmp_path / "x.ckpt", torch.ones(4)
    torch.save({"state_dict": {"a": shared, "b": shared[:2]}, "global_step": 3}, file)
    for read in (read_tensors, read_shapes):
        with pytest.raises(BundleError) as caught:
            read(file)
        assert (caught.value.file, caught.value.found) == (str(file), "a pickle")
        assert "--unsafe-pickle" in caught.value.advice
    tensors = read_tensors(file, unsafe_pickle=True)
    assert tensors.keys() == {"a", "b"}
    write_tensors(tensors, tmp_path / "y.safetensors")
    assert read_shapes(file, unsafe_pickle=True)["b"].shape == (2,)


def test_pickles_are_recognised_by_their_content(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    torch.save(TENSORS, file)
    assert is_pickle(file)
    with pytest.raises(BundleError) as caught:
        read_tensors(file)
    assert caught.value.found == "a pickle"
    old = tmp_path / "old.pt"
    torch.save(TENSORS, old, _use_new_zipfile_serialization=False)
    assert is_pickle(old)
    assert read_tensors(old, unsafe_pickle=True).keys() == TENSORS.keys()


def test_a_safetensors_header_of_128_bytes_is_not_a_pickle(tmp_path: Path) -> None:
    for length in range(40, 120):
        save_file({"a" * length: torch.zeros(1)}, tmp_path / "x.safetensors")
        if (tmp_path / "x.safetensors").read_bytes()[0] == 0x80:
            assert read_tensors(tmp_path / "x.safetensors")
            return
    pytest.fail("no name gives such a header")


class Runs:
    """A malicious object: code that runs when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.file,))


@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, protocol: int) -> None:
    file, mark = tmp_path / "x.ckpt", tmp_path / "ran"
    torch.save({"a": Runs(mark)}, file, pickle_protocol=protocol)
    for _ in range(2):
        with pytest.raises(BundleError) as caught:
            read_tensors(file, unsafe_pickle=True)
        assert caught.value.file == str(file)
        file.write_bytes(pickle.dumps({"a": Runs(mark)}, protocol=protocol))
    assert not mark.exists()


@pytest.mark.parametrize("keep", [0, 4, 20, -4])
def test_damaged_files_are_an_error(tmp_path: Path, keep: int) -> None:
    for name in ("x.safetensors", "x.ckpt"):
        file = tmp_path / name
        write_tensors(TENSORS, file) if name.endswith("s") else torch.save(TENSORS, file)
        file.write_bytes(file.read_bytes()[:keep])
        with pytest.raises(BundleError) as caught:
            read_tensors(file, unsafe_pickle=True)
        assert caught.value.file == str(file)
    with pytest.raises(BundleError) as caught:
        read_tensors(tmp_path / "nowhere")
    assert caught.value.file == str(tmp_path / "nowhere")


def test_views_that_stand_for_terabytes_are_an_error(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1).expand(10**12)}, tmp_path / "x.ckpt")
    with pytest.raises(BundleError) as caught:
        read_tensors(tmp_path / "x.ckpt", unsafe_pickle=True)
    assert (caught.value.key, caught.value.found) == ("a", f"{4 * 10**12} bytes")


def test_a_pickle_must_hold_a_dictionary(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "x.ckpt")
    with pytest.raises(BundleError) as caught:
        read_tensors(tmp_path / "x.ckpt", unsafe_pickle=True)
    assert caught.value.found == "a pickled list"


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
def test_kinds_are_detected_by_keys(keys: list[str], kind: str) -> None:
    assert kind_of(keys, "x") == kind


def test_unknown_kinds_are_an_error() -> None:
    for keys in ([], ["conv_in.weight"]):
        with pytest.raises(BundleError) as caught:
            kind_of(keys, "x")
        assert (caught.value.file, caught.value.found) == ("x", f"keys like {keys}")
    key = "base_model.model.controlnet_mid_block.weight"
    with pytest.raises(BundleError) as caught:
        kind_of([key, "base_model.model.a.lora_A.weight"], "x")
    assert (caught.value.file, caught.value.key) == ("x", key)


def test_tensors_are_compared_by_name_and_shape() -> None:
    expected = {"a": torch.zeros(2), "b": torch.zeros(2, 3)}
    check_tensors("x", dict(expected), expected)
    for found, key, facts in (
        ({"a": torch.zeros(2)}, "b", ("no such tensor", "2 tensors, of which 1 are missing")),
        ({**expected, "c": torch.zeros(1)}, "c", ("an unknown tensor", "none of 1 such tensors")),
        ({**expected, "b": torch.zeros(3, 2)}, "b", ("shape [3, 2]", [2, 3])),
    ):
        with pytest.raises(BundleError) as caught:
            check_tensors("x", found, expected, lambda name: f"ldm.{name}")
        error = caught.value
        assert (error.file, error.key, (error.found, error.expected)) == ("x", f"ldm.{key}", facts)


def test_writing_is_atomic(tmp_path: Path) -> None:
    def fails(folder: Path) -> None:
        write_tensors(TENSORS, folder / "x.safetensors")
        raise BundleError("no more")

    with pytest.raises(BundleError) as caught:
        write_new(tmp_path / "new", fails)
    assert caught.value.message == "no more"
    assert list(tmp_path.iterdir()) == []
    write_new(tmp_path / "new", lambda folder: write_tensors(TENSORS, folder / "x.safetensors"))
    with pytest.raises(BundleError) as caught:
        write_new(tmp_path / "new", fails)
    assert (caught.value.file, caught.value.expected) == (str(tmp_path / "new"), "a new path")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert load_file(tmp_path / "new" / "x.safetensors").keys() == TENSORS.keys()


def test_concurrent_writers_are_not_overwritten(tmp_path: Path) -> None:
    def write_second(place: Path, *, folder: bool) -> None:
        write_tensors(TENSORS, place / "x.safetensors" if folder else place)
        other = tmp_path / "new" / "other" if folder else tmp_path / "new"
        other.parent.mkdir(exist_ok=True)
        other.write_text("theirs")

    for folder in (True, False):
        with pytest.raises(BundleError) as caught:
            write_new(tmp_path / "new", partial(write_second, folder=folder))
        assert caught.value.file == str(tmp_path / "new")
        theirs = tmp_path / "new" / "other" if folder else tmp_path / "new"
        assert theirs.read_text() == "theirs"
        theirs.unlink()
        if folder:
            theirs.parent.rmdir()
