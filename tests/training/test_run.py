"""Runs from a spec leave no traces in the caller's process."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from dentgen.errors import DentgenError, SpecError
from dentgen.models.bundle import find_bundle
from dentgen.training.run import run_training
from tests.training.runs import copied_bundle, train_spec


@pytest.mark.slow
def test_a_run_leaves_threads_and_loggers_as_they_were(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    handlers = list(logging.getLogger().handlers)
    for export_only in (False, True):
        run_training(train_spec(phantoms, folder, "adapter", threads=3, steps=1), export_only=export_only)
        assert torch.get_num_threads() == 1
    with pytest.raises(DentgenError):
        run_training(train_spec(str(tmp_path / "nowhere"), folder, "adapter", threads=3))
    assert torch.get_num_threads() == 1
    assert logging.getLogger().handlers == handlers


@pytest.mark.parametrize("key", ["bundle", "checkpoints"])
def test_a_run_never_writes_into_its_source(key: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for place in (tmp_path / "data", tmp_path / "data" / "new", tmp_path):
        values = {"bundle": str(tmp_path / "bundle"), "checkpoints": str(tmp_path / "run"), key: str(place)}
        with pytest.raises(SpecError) as caught:
            run_training(train_spec(str(tmp_path / "data"), tmp_path, "adapter", **values))
        assert caught.value.key == key
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("key", ["bundle", "checkpoints"])
def test_a_run_never_writes_into_the_miniature_inside_dentgen(key: str, tmp_path: Path) -> None:
    embedded = find_bundle("miniature")
    places = [str(embedded), str(embedded / "new"), *(["miniature"] if key == "bundle" else [])]
    for place in places:
        values = {"bundle": str(tmp_path / "bundle"), "checkpoints": str(tmp_path / "run"), key: place}
        with pytest.raises(SpecError) as caught:
            run_training(train_spec(str(tmp_path / "data"), tmp_path, "adapter", **values))
        assert caught.value.key == key
        assert str(embedded) in caught.value.advice
    assert not (embedded / "new").exists()
