"""``dentgen compare T2`` to ``T6``: subcommands that reject wrong rows before any work, and name their own command."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dentgen.cli.compare import app
from dentgen.cli.decision_tables import TableOptions
from dentgen.errors import SpecError
from tests.conftest import DEMO
from tests.docs.commands import parse


@pytest.mark.parametrize("number", ["T2", "T3", "T4", "T5", "T6"])
def test_every_table_is_a_subcommand_with_an_example(number: str) -> None:
    told = CliRunner().invoke(app, [number, "--help"])
    assert told.exit_code == 0
    assert f"Example: dentgen compare {number}" in told.output


@pytest.mark.parametrize(
    ("words", "key"),
    [(["T4", "--adapter", "reward"], "--adapter"), (["T6", "--student", "a=b"], "--student"),
     (["T2", "--set", "model.adapters={}"], "model.adapters"), (["T5", "--steps", "0"], "candidates of T5"),
     (["T3", "--only", "depth"], "candidates of T3")],
)  # fmt: skip
def test_wrong_rows_are_rejected_before_the_work(words: list[str], key: str, tmp_path: Path) -> None:
    run = CliRunner().invoke(app, [*words, "--work", str(tmp_path / "work"), "--html", str(tmp_path / "page.html")])
    assert isinstance(run.exception, SpecError)
    assert run.exception.key == key
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("work", ["s3://bucket/x", "s3a://user:word@bucket/x"])
def test_a_work_folder_at_a_url_needs_a_place_for_the_page(
    work: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(app, ["T3", "--work", work])
    assert isinstance(run.exception, SpecError)
    assert run.exception.key == "--html"
    assert "word" not in str(run.exception)
    assert not list(tmp_path.iterdir())


def test_the_command_to_repeat_has_no_secrets_of_its_urls() -> None:
    options = TableOptions(
        None,
        ("model.bundle=s3://me:pass1@bucket/model",), (), "work", 2, 2, "https://me:pass2@host/judges", None, None,
        5, "https://host/shards?X-Amz-Signature=pass3",
        (("--adapter", "reward=s3://me:pass4@bucket/other:rewarded"),),
    )  # fmt: skip
    command = options.command("T4")
    assert "pass" not in command
    words = shlex.split(command)
    assert words[words.index("--set") + 1] == "model.bundle=s3://bucket/model"
    assert words[words.index("--adapter") + 1] == "reward=s3://bucket/other:rewarded"
    assert words[words.index("--judges") + 1] == "https://host/judges"
    assert words[words.index("--training") + 1].startswith("https://host/shards")


@pytest.mark.slow
def test_t6_prints_and_writes_with_the_command_that_measures_it_again(tmp_path: Path) -> None:
    file = tmp_path / "T6.json"
    words = [
        "T6", "--records", "2", "--seeds", "2", "--student", "LCM 1=lcm:lcm:1:999", "--only", "LCM", "--only", "UniPC",
        "--set", "conditions.size=64",
    ]  # fmt: skip
    places = ["--work", str(tmp_path / "work"), "--json", str(file)]
    run = CliRunner().invoke(app, [*words, *places])
    assert run.exit_code == 0, run.output
    document = json.loads(file.read_text())
    assert [row["name"] for row in document["rows"]] == ["UniPC 4", "LCM 4", "LCM 1"]
    assert all(row["name"] in run.stdout for row in document["rows"])
    assert [row["cost"]["unet_evaluations"] for row in document["rows"]] == [4, 4, 1]
    assert (tmp_path / "work" / "T6.html").exists()
    again = parse(shlex.split(document["command"])[1:]).values
    asked = parse(["compare", *words]).values
    assert {name: value for name, value in again.items() if name not in {"work", "json", "html"}} == {
        name: value for name, value in asked.items() if name not in {"work", "json", "html"}
    }
    assert str(DEMO) not in document["command"]
