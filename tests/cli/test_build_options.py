"""The spec that commands over builds name."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.cli.build_options import read_build
from dentgen.errors import SpecError


def test_demo_is_the_installed_spec_unless_there_is_such_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    demo = read_build(Path("demo"), [f"output.path={tmp_path / 'out'}"])
    assert Path(demo.source.path).is_dir()
    assert demo.output.path == str(tmp_path / "out")
    Path("demo").write_text(f"source: {{path: {tmp_path}}}\noutput: {{path: {tmp_path / 'mine'}}}\n")
    assert read_build(Path("demo"), None).output.path == str(tmp_path / "mine")


def test_a_spec_without_places_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("{}")
    with pytest.raises(SpecError) as caught:
        read_build(tmp_path / "empty.yaml", None)
    assert caught.value.key == "source.path and output.path"
