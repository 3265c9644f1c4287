"""Filled-in check sheets: read with checks, kept once, and only counted where they belong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dentgen.curation.check_sheet import CheckSheet, draw_sheet
from dentgen.curation.check_verdicts import read_verdicts, require_of_sheet, store_verdicts, stored_verdicts
from dentgen.errors import StorageError
from dentgen.shards.gc import stray_files
from dentgen.shards.plan_file import read_plan
from tests.conftest import problems
from tests.curation.checked_build import checked_build, filled_in
from tests.report.fake_builds import written
from tests.shards.sealed_builds import finished_build


@pytest.fixture
def sheet(tmp_path: Path) -> CheckSheet:
    checked_build(tmp_path / "out", passed=4, failed=2)
    return draw_sheet(str(tmp_path / "out"), 6)


def test_verdicts_are_kept_once_and_read_back(tmp_path: Path, sheet: CheckSheet) -> None:
    partly, verdicts = filled_in(sheet, passed=True), filled_in(sheet, passed=True, failed=False)
    out = str(tmp_path / "out")
    places = {store_verdicts(out, each) for each in (partly, verdicts, verdicts)}
    assert list(stored_verdicts(out)) == [(places.pop(), verdicts)], "the last one of a sheet"
    other = filled_in(sheet, "1" * 16, passed=True, failed=False)
    store_verdicts(out, other)
    assert [found for _, found in stored_verdicts(out)] == [verdicts, other], "equal answers of two people are two"


def test_kept_verdicts_belong_to_the_build(tmp_path: Path) -> None:
    plan = finished_build(tmp_path, [written(0)])
    sheet = draw_sheet(str(tmp_path), 2)
    store_verdicts(str(tmp_path), filled_in(sheet, none=True))
    assert stray_files(str(tmp_path), read_plan(str(tmp_path))) == []
    assert problems(tmp_path) == []
    assert plan.total_units == 1


#: The beginning of a filled-in sheet.
HEAD = b'{"format": 1, "sheet": "0123456789abcdef", "index_sha256": "a", "count": 1, "seed": 0, "verdicts": '


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        HEAD + b'{"k": {"accept": true, "reason": "light"}}}',
        HEAD + b'{"k": {"accept": false}}}',
        HEAD + b'{}, "reviewer": "Dr. Jones"}',
        HEAD.replace(b"0123456789abcdef", b"../../index.json") + b"{}}",
        HEAD.replace(b'"seed": 0', b'"seed": 9007199254740992') + b"{}}",
        b" " * (2**22 + 1),
    ],
)
def test_something_else_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "verdicts.json"
    file.write_bytes(content)
    with pytest.raises(StorageError) as caught:
        read_verdicts(str(file))
    assert caught.value.file == str(file)


@pytest.mark.parametrize(
    ("changes", "key"), [({"seed": 1}, "seed"), ({"count": 5}, "count"), ({"index_sha256": "b"}, "index_sha256")]
)
def test_verdicts_of_another_draw_are_refused(sheet: CheckSheet, changes: dict[str, Any], key: str) -> None:
    verdicts = filled_in(sheet, passed=True).model_copy(update=changes)
    with pytest.raises(StorageError) as caught:
        require_of_sheet(verdicts, sheet, "v.json")
    assert (caught.value.file, caught.value.key) == ("v.json", key)
    assert caught.value.found == str(changes[key])


def test_verdicts_on_other_pictures_are_refused(sheet: CheckSheet) -> None:
    verdicts = filled_in(sheet, passed=True)
    content = json.loads(verdicts.model_dump_json())
    content["verdicts"]["strange"] = {"accept": True, "reason": None}
    with pytest.raises(StorageError) as caught:
        require_of_sheet(type(verdicts).model_validate(content), sheet, "v.json")
    assert (caught.value.key, caught.value.found) == ("verdicts", "strange")
