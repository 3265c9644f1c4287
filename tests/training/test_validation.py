"""Validation: the same rows every time, without a trace in the run, and no work that is thrown away."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from dentgen.training.data.rows import TrainingData
from dentgen.training.run import run_training
from tests.training.runs import linked_bundle, losses_of, train_spec, weights_of


@pytest.mark.slow
def test_validation_writes_previews_and_losses(phantoms: str, family: Path, tmp_path: Path) -> None:
    """And changes nothing in the run."""
    plain, seen = linked_bundle(family, tmp_path / "plain"), linked_bundle(family, tmp_path / "seen")
    run_training(train_spec(phantoms, plain, "adapter", name="own", steps=2))
    watched = {"validate_steps": 1, "validate_records": 3}
    run_training(train_spec(phantoms, seen, "adapter", name="own", steps=2, **watched))
    with Image.open(seen / "adapter" / "previews" / "0000001.png") as sheet:
        assert sheet.size == (3 * 64, 3 * 64), "as many as asked for, more than a batch"
    assert [path.name for path in sorted((seen / "adapter" / "previews").iterdir())] == ["0000001.png", "0000002.png"]
    assert sum(bool(row["validation_loss"]) for row in losses_of(seen / "adapter")) == 2
    a, b = weights_of(plain / "adapter"), weights_of(seen / "adapter")
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow
def test_validation_prepares_no_rows_that_nobody_reads(
    phantoms: str, family: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[tuple[str | None, int]] = []
    prepare = TrainingData._prepare

    def counting(data: TrainingData, step: int, first: int, count: int, *, prefetch: bool) -> object:
        prepared.append((data._order.places(0, 1)[0].split, step))
        return prepare(data, step, first, count, prefetch=prefetch)

    monkeypatch.setattr(TrainingData, "_prepare", counting)
    folder = linked_bundle(family, tmp_path / "own")
    source = {"path": phantoms, "split": "train"}
    values = {"validate_steps": 1, "validate_records": 3, "validate_split": "validation", "source": source}
    run_training(train_spec(phantoms, folder, "adapter", name="own", steps=3, **values))
    assert [step for split, step in prepared if split == "validation"] == [0] * 6, "two batches, three times"
    assert sorted({step for split, step in prepared if split == "train"}) == [0, 1, 2]
