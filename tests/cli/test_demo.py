"""The demo's spec and shards are found wherever a command runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.cli.demo import _installed, demo_conditions, demo_spec, spec_or_demo
from dentgen.conditions.readers.source import list_shards
from dentgen.errors import SpecError
from dentgen.spec.yaml_file import read_spec


def test_the_demo_is_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = read_spec(*spec_or_demo(None, None))
    assert len(list_shards(spec.source.path)) == 2
    assert spec.sampling == read_spec(demo_spec()).sampling


def test_overrides_take_precedence() -> None:
    spec = read_spec(*spec_or_demo(None, ["source.path=elsewhere", "sampling.steps=7"]))
    assert (spec.source.path, spec.sampling.steps) == ("elsewhere", 7)


def test_a_given_spec_keeps_its_own_source(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("source: {path: mine/}")
    assert spec_or_demo(file, None) == (file, [])
    assert read_spec(*spec_or_demo(file, ["sampling.seed=3"])).source.path == "mine/"


def test_paths_with_special_characters_survive_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a: #b"
    folder.mkdir()
    monkeypatch.setattr("dentgen.cli.demo.demo_conditions", lambda: folder)
    assert read_spec(*spec_or_demo(None, None)).source.path == str(folder)


def test_the_package_comes_before_the_checkout(tmp_path: Path) -> None:
    package, checkout = tmp_path / "package", tmp_path / "checkout"
    checkout.touch()
    assert _installed(package, checkout) == checkout
    package.touch()
    assert _installed(package, checkout) == package
    with pytest.raises(SpecError) as caught:
        _installed(tmp_path / "neither")
    assert caught.value.file == str(tmp_path / "neither")
    assert demo_conditions().is_dir()
