"""Checkpoints: what goes in comes out, and only for the run that wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dentgen.errors import SpecError
from dentgen.training.checkpoint import load_checkpoint, save_checkpoint
from tests.training.runs import train_spec


def saved(folder: Path, **values: Any) -> Any:
    """A run with a checkpoint of a linear layer after three steps."""
    spec = train_spec("nowhere", folder, "adapter", **values)
    layer = nn.Linear(2, 2)
    nn.init.constant_(layer.weight, 3.0)
    save_checkpoint(spec, 3, {"layer": layer}, [{"step": 1, "loss": 0.5}])
    return spec


def test_a_checkpoint_gives_back_step_log_and_states(tmp_path: Path) -> None:
    spec, layer = saved(tmp_path), nn.Linear(2, 2)
    assert load_checkpoint(spec, {"layer": layer}) == (3, [{"step": 1, "loss": 0.5}])
    assert torch.equal(layer.weight, torch.full((2, 2), 3.0))


def test_a_run_without_checkpoint_starts_at_step_0(tmp_path: Path) -> None:
    assert load_checkpoint(train_spec("nowhere", tmp_path, "adapter"), {}) == (0, [])


@pytest.mark.parametrize(
    ("values", "key", "expected"),
    [
        ({"control_image": "normal"}, "control_image", "'normal'"),
        ({"seed": 1}, "seed", "1"),
        ({"conditions": {"alpha": 0.5}}, "conditions.alpha", "0.5"),
        ({"loss": {"tooth": 5.0}}, "loss.tooth", "5.0"),
        ({"source": {"path": "nowhere", "split": "train"}}, "source.split", "'train'"),
    ],
)
def test_a_checkpoint_of_another_spec_is_refused(
    tmp_path: Path, values: dict[str, Any], key: str, expected: str
) -> None:
    saved(tmp_path)
    with pytest.raises(SpecError) as caught:
        load_checkpoint(train_spec("nowhere", tmp_path, "adapter", **values), {"layer": nn.Linear(2, 2)})
    assert caught.value.file == str(tmp_path / "adapter" / "checkpoint.pt")
    assert (caught.value.key, caught.value.expected) == (key, expected)


def test_where_and_how_long_a_run_trains_may_change(tmp_path: Path) -> None:
    saved(tmp_path)
    moved = train_spec(
        "elsewhere", tmp_path, "adapter", bundle="elsewhere", steps=9, workers=2, threads=3, stream=True,
        log_steps=7, validate_steps=1, device="cpu",
    )  # fmt: skip
    assert load_checkpoint(moved, {"layer": nn.Linear(2, 2)})[0] == 3


def test_states_of_another_shape_are_refused(tmp_path: Path) -> None:
    spec = saved(tmp_path)
    for parts in ({"layer": nn.Linear(3, 2)}, {"other": nn.Linear(2, 2)}):
        with pytest.raises(SpecError) as caught:
            load_checkpoint(spec, parts)
        assert caught.value.file.endswith("checkpoint.pt")


@pytest.mark.parametrize("size", [0, 10, 300])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, size: int) -> None:
    spec = saved(tmp_path)
    file = tmp_path / "adapter" / "checkpoint.pt"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(SpecError) as caught:
        load_checkpoint(spec, {"layer": nn.Linear(2, 2)})
    assert (caught.value.file, "damaged" in caught.value.message) == (str(file), True)
