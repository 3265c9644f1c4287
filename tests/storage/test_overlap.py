"""Places that are one or lie inside each other are recognised in any spelling."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.errors import SpecError
from dentgen.storage.overlap import is_same, is_within, require_apart


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data2").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    return tmp_path


SAME = (
    ("data", "data/"), ("data", "./data//"), ("data", "data/sub/.."), ("data", "new/../data"), ("data", "link"),
    ("data/sub", "link/sub"), ("~/data", "data"), ("file:///{here}/data", "data"), ("link/new", "data/new"),
    ("s3://b/x", "s3a://b//x/"), ("s3://b", "S3://b/"), ("https://h/x?sig=1", "https://h/x"),
)  # fmt: skip
INSIDE = (
    ("data/sub", "data"), ("link/sub", "data"), ("data/new/deep", "link/"), ("data/sub/../new", "data"), ("data", "."),
    ("s3://b/x/y", "s3a://b/x"), ("s3://b/x", "s3://b"), ("data", "/"),
)  # fmt: skip
APART = (
    ("data", "data2"), ("data2", "data"), ("data-new", "data"), ("new", "new2"), ("s3://b/x", "s3://b/xy"),
    ("s3://b/x", "s3://c/x"), ("s3://b/x", "gs://b/x"), ("data", "s3://data"), ("s3://b/..", "s3://b/x"),
    ("data/../data2", "data"), ("data::x", "data"),
)  # fmt: skip


@pytest.mark.parametrize(("place", "other"), SAME)
def test_one_place_in_two_spellings(place: str, other: str, here: Path) -> None:
    place = place.replace("{here}", str(here).lstrip("/"))
    assert is_same(place, other)
    for allowed in (False, True):
        with pytest.raises(SpecError) as caught:
            require_apart("output.path", place, "source.path", other, inside_allowed=allowed)
        assert (caught.value.key, caught.value.found) == ("output.path", "the same place as source.path")


@pytest.mark.parametrize(("place", "other"), INSIDE)
def test_one_place_inside_the_other(place: str, other: str, here: Path) -> None:
    assert is_within(place, other)
    assert not is_within(other, place)
    with pytest.raises(SpecError) as caught:
        require_apart("output.path", place, "source.path", other)
    assert caught.value.found.startswith("a place inside source.path")
    require_apart("output.path", place, "source.path", other, inside_allowed=True)
    with pytest.raises(SpecError) as caught:
        require_apart("output.path", other, "source.path", place, inside_allowed=True)
    assert caught.value.found.startswith("source.path inside it")


@pytest.mark.parametrize(("place", "other"), APART)
def test_places_apart(place: str, other: str, here: Path) -> None:
    assert not is_within(place, other)
    assert not is_within(other, place)
    require_apart("output.path", place, "source.path", other)


def test_loops_of_links_end(here: Path) -> None:
    (here / "a").symlink_to(here / "b")
    (here / "b").symlink_to(here / "a")
    assert not is_within("a", "data")
    assert is_within("a/x", "a")
