"""Options and output that measuring commands share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dentgen.cli.measurement import grouped, log_line, parse_numbers, parse_shares, prepare_folder, print_figures
from dentgen.errors import SpecError


def test_numbers_are_separated_by_commas() -> None:
    assert parse_numbers("--slots", "16,32, 48") == [16, 32, 48]
    assert parse_numbers("--slots", "") == []


@pytest.mark.parametrize("text", ["16,", "a", "-3", "0", "1.5", "1;2"])
def test_other_text_names_the_option(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_numbers("--slots", text)
    assert (caught.value.key, caught.value.found) == ("--slots", text)


def test_shares_are_over_zero_and_at_most_one() -> None:
    assert parse_shares("--strengths", "0.1, 1") == (0.1, 1.0)
    for text in ("", "0", "1.5", "a", "0.1,,0.2", "nan"):
        with pytest.raises(SpecError) as caught:
            parse_shares("--strengths", text)
        assert (caught.value.key, caught.value.found) == ("--strengths", text)


def test_a_folder_that_cannot_be_created_fails_before_the_work(tmp_path: Path) -> None:
    prepare_folder(None)
    prepare_folder(tmp_path / "new" / "figures.json")
    assert (tmp_path / "new").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(SpecError) as caught:
        prepare_folder(tmp_path / "file" / "figures.json")
    assert caught.value.file == str(tmp_path / "file" / "figures.json")


@pytest.mark.parametrize("url", ["s3://bucket/figures.json", "memory://figures.json", "file:///figures.json"])
def test_a_url_is_refused_and_no_folder_is_made(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError) as caught:
        prepare_folder(Path(url))
    assert (caught.value.file, caught.value.found) == (str(Path(url)), "a URL")
    assert not any(tmp_path.iterdir())


def test_figures_go_to_standard_output_and_log_lines_do_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log_line("round 1 of 3")
    print_figures({"ratios": {"a": 1.5}}, tmp_path / "figures.json")
    printed = capsys.readouterr()
    assert json.loads(printed.out) == json.loads((tmp_path / "figures.json").read_text()) == {"ratios": {"a": 1.5}}
    assert printed.err.strip() == "round 1 of 3"


def test_ways_and_bundles_are_grouped_by_name() -> None:
    texts = ["sum:conditions.combine=sum", "blend", "sum:model.adapters={a: 1}", "blend:s3://bucket/own.yaml"]
    assert grouped("--way", texts) == [
        ["sum", "conditions.combine=sum", "model.adapters={a: 1}"],
        ["blend", "s3://bucket/own.yaml"],
    ]
    assert grouped("--way", None) == []
    for wrong in (":x", "a:"):
        with pytest.raises(SpecError) as caught:
            grouped("--bundle", [wrong])
        assert (caught.value.key, caught.value.found) == ("--bundle", wrong)
