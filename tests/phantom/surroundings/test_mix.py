"""A mix is read from a file or built in; wrong weights are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.errors import SpecError
from dentgen.phantom.surroundings.mix import VARIED, Mix, read_mix


def test_the_built_in_mix_and_none() -> None:
    assert read_mix(None) is None
    assert read_mix(VARIED) == Mix()


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "mix.yaml").write_text("framings: {close-up: 2, face: 1}\ndam: 0\n")
    mix = read_mix(str(tmp_path / "mix.yaml"))
    assert mix == Mix(framings={"close-up": 2.0, "face": 1.0}, dam=0.0)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("framings: {close-up: -1}", "framings.close-up"),
        ("framings: {close-up: 0}", "framings"),
        ("framings: {portrait: 1}", "framings.portrait"),
        ("props: {probe: 1.5}", "props.probe"),
        ("dam: 2", "dam"),
        ("damn: 0.2", "damn"),
        ("disease: .nan", "disease"),
    ],
)
def test_wrong_values_are_named(text: str, key: str, tmp_path: Path) -> None:
    (tmp_path / "mix.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        read_mix(str(tmp_path / "mix.yaml"))
    assert caught.value.file == str(tmp_path / "mix.yaml")
    assert key in str(caught.value)
