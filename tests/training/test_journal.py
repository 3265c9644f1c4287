"""The journal: lines of losses with rate and remaining time, a table, previews."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dentgen.training.journal import Journal, sheet
from tests.training.runs import losses_of, train_spec


def test_lines_continue_those_before(tmp_path: Path) -> None:
    spec = train_spec("nowhere", tmp_path, "adapter", steps=4)
    with Journal(spec, 2, [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}]) as journal:
        journal.advance()
        journal.line(3, {"loss": 0.125, "mse": 1 / 3})
        journal.write()
    lines = losses_of(tmp_path / "adapter")
    assert [line["step"] for line in lines] == ["1", "2", "3"]
    assert lines[0]["mse"] == ""
    assert (lines[2]["loss"], lines[2]["mse"]) == ("0.125", "0.333333")


def test_every_line_is_logged_with_rate_and_remaining_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = train_spec("nowhere", tmp_path, "adapter", steps=100)
    with caplog.at_level(logging.INFO), Journal(spec, 10, []) as journal:
        journal.advance()
        journal.advance()
        journal._began = time.monotonic() - 4.0
        journal.line(12, {"loss": 0.5})
    found = re.search(r"step 12 of 100, ([\d.]+) steps/s, (\d+):(\d+) left; loss 0\.5", caplog.text)
    assert found
    assert float(found[1]) == pytest.approx(0.5, rel=0.1)
    assert 60 * int(found[2]) + int(found[3]) == pytest.approx(88 / 0.5, rel=0.1)


def test_an_error_closes_the_journal_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Journal(train_spec("nowhere", tmp_path, "adapter"), 0, []):
        raise RuntimeError
    assert not (tmp_path / "adapter" / "losses.csv").exists()


def test_events_go_to_tensorboard(tmp_path: Path) -> None:
    spec = train_spec("nowhere", tmp_path, "adapter", tensorboard=str(tmp_path / "events"))
    with Journal(spec, 0, []) as journal:
        journal.line(1, {"loss": 0.5})
    assert list((tmp_path / "events").glob("events.out.tfevents.*"))


def test_previews_are_named_by_step(tmp_path: Path) -> None:
    spec = train_spec("nowhere", tmp_path, "adapter")
    with Journal(spec, 0, []) as journal:
        journal.pictures(7, [torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 8, 8)])
    with Image.open(tmp_path / "adapter" / "previews" / "0000007.png") as image:
        assert image.size == (16, 16)


def test_a_sheet_has_a_row_per_record_and_a_column_per_kind() -> None:
    first = torch.full((2, 3, 4, 5), -1.0)
    first[1] = 0.0
    second = torch.full((2, 3, 4, 5), 1.5)
    pixels = sheet([first, second])
    assert pixels.shape == (8, 10, 3)
    assert np.unique(pixels[:4, :5]).tolist() == [0]
    assert np.unique(pixels[4:, :5]).tolist() == [128]
    assert np.unique(pixels[:, 5:]).tolist() == [255], "clipped"
