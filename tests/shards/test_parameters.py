"""A folder's parameters are written once and compared ever after."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.errors import SpecError
from dentgen.shards.parameters import claim_parameters
from dentgen.shards.tar import json_bytes

WANTED: dict[str, int | str | bool] = {"seed": 5, "look": "photo", "mirrors": False}


def test_the_first_claim_writes_canonical_json(tmp_path: Path) -> None:
    claim_parameters(str(tmp_path), "set.json", WANTED)
    assert (tmp_path / "set.json").read_bytes() == json_bytes(WANTED)


def test_an_equal_claim_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "set.json").write_text('{"mirrors": false, "seed": 5, "look": "photo"}')
    claim_parameters(str(tmp_path), "set.json", WANTED)
    assert (tmp_path / "set.json").read_text().startswith('{"mirrors"')


@pytest.mark.parametrize("found", [{**WANTED, "seed": 6}, {"seed": 5}, {**WANTED, "new": 1}, []])
def test_other_parameters_are_refused_and_kept(tmp_path: Path, found: object) -> None:
    (tmp_path / "set.json").write_bytes(json_bytes(found))
    with pytest.raises(SpecError) as caught:
        claim_parameters(str(tmp_path), "set.json", WANTED)
    assert caught.value.file == f"{tmp_path}/set.json"
    assert (caught.value.found, caught.value.expected) == (found, WANTED)
    assert caught.value.advice
    assert (tmp_path / "set.json").read_bytes() == json_bytes(found)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.json").write_bytes(b"\xff not json" + b"x" * 500)
    with pytest.raises(SpecError) as caught:
        claim_parameters(str(tmp_path), "set.json", WANTED)
    assert len(caught.value.found) < 100
