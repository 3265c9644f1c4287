"""``dentgen compare``: T1 is a subcommand, and says what it needs before it works."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dentgen.cli.compare import app
from dentgen.errors import SpecError


def test_t1_is_a_subcommand_with_an_example() -> None:
    listed = CliRunner().invoke(app, ["--help"])
    assert "T1" in listed.output
    told = CliRunner().invoke(app, ["T1", "--help"])
    assert told.exit_code == 0
    assert "Example: dentgen compare T1" in told.output


def test_a_bundle_without_an_lcm_lora_is_rejected_before_anything_is_rendered(tmp_path: Path) -> None:
    for part in ("tokenizer", "text_encoder", "vae", "unet", "scheduler"):
        (tmp_path / "bundle" / part).mkdir(parents=True)
    run = CliRunner().invoke(
        app, ["T1", "--set", f"model.bundle={tmp_path / 'bundle'}", "--work", str(tmp_path / "work"),
              "--html", str(tmp_path / "T1.html")],
    )  # fmt: skip
    assert isinstance(run.exception, SpecError)
    assert run.exception.key == "model.bundle"
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_t1_prints_and_writes(tmp_path: Path) -> None:
    page, file = tmp_path / "T1.html", tmp_path / "T1.json"
    run = CliRunner().invoke(
        app, ["T1", "--records", "2", "--work", str(tmp_path / "work"), "--html", str(page), "--json", str(file),
              "--set", "conditions.size=64", "--judge-records", "2", "--unet-steps", "2"],
    )  # fmt: skip
    assert run.exit_code == 0, run.output
    assert str(page) in run.stdout
    rows = json.loads(file.read_text())["rows"]
    assert len(rows) == 7 * 2 + 1
    assert all(row["sampler"] in run.stdout for row in rows)
