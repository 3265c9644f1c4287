"""Runs from a spec leave no traces in the caller's process."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from dentgen.errors import DentgenError
from dentgen.training.run import run_training
from tests.training.runs import copied_bundle, train_spec


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
