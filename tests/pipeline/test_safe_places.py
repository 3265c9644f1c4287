"""Outputs that overlap with source or bundle are refused before anything is written; one inside the source is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dentgen import storage
from dentgen.conditions.readers.source import list_shards
from dentgen.errors import SpecError, StorageError
from dentgen.models.bundle import find_bundle
from dentgen.pipeline.run import build
from dentgen.pipeline.safe_places import require_safe_places
from tests.conftest import problems, shard_bytes, small_spec


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def world(tmp_path: Path, small_source: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source with notes and a record of its own called "out", a bundle, links to both."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (small_source / "notes.txt").write_text("mine")
    (small_source / "mine").mkdir()
    shutil.copy(small_source / "a.tar", small_source / "mine" / "c.tar")
    (tmp_path / "bundle" / "vae").mkdir(parents=True)
    (tmp_path / "source-link").symlink_to(small_source)
    (tmp_path / "bundle-link").symlink_to(tmp_path / "bundle")
    return tmp_path


@pytest.mark.parametrize(
    ("source", "out", "bundle", "found"),
    [
        ("conditions", "conditions", "miniature", "the same place as source.path"),
        ("conditions", "./source-link/../conditions/", "miniature", "the same place as source.path"),
        ("~/conditions", "source-link", "miniature", "the same place as source.path"),
        ("conditions/a.tar", "conditions", "miniature", "source.path inside it, conditions/a.tar"),
        ("conditions/a.tar", "conditions/a.tar", "miniature", "the same place as source.path"),
        ("conditions", ".", "miniature", "source.path inside it, conditions"),
        ("s3://b/x", "s3a://b//x/", "miniature", "the same place as source.path"),
        ("s3://b/x/y", "s3://b/x", "miniature", "source.path inside it, s3://b/x/y"),
        ("conditions", "bundle-link", "bundle", "the same place as model.bundle"),
        ("conditions", "bundle/out", "bundle-link", "a place inside model.bundle, bundle-link"),
        ("conditions", "s3://b/x", "s3://b/x/bundle", "model.bundle inside it, s3://b/x/bundle"),
        ("conditions", "conditions/mine", "miniature", "c.tar in a folder inside source.path"),
    ],
)
def test_overlaps_are_refused_before_anything_is_written(
    source: str, out: str, bundle: str, found: str, world: Path
) -> None:
    before = listing(world)
    spec = small_spec(Path("x"), Path("y"), source={"path": source}, output={"path": out}, model={"bundle": bundle})
    with pytest.raises(SpecError) as caught:
        build(spec, use_ray=False)
    assert (caught.value.key, caught.value.found) == ("output.path", found)
    assert listing(world) == before


def test_web_servers_are_refused_as_output(world: Path) -> None:
    with pytest.raises(StorageError) as caught:
        require_safe_places(small_spec(Path("conditions"), Path("x"), output={"path": "https://host/out"}))
    assert caught.value.found == "a web server"


def test_places_apart_are_accepted(world: Path) -> None:
    before = listing(world)
    for out in ("out", "conditions-out", "conditions/out", "conditions::out"):
        spec = small_spec(Path("conditions"), Path(out), model={"bundle": str(find_bundle("miniature"))})
        require_safe_places(spec)
    assert listing(world) == before


@pytest.mark.integration
def test_a_build_inside_its_source_resumes_and_runs_again_without_reading_itself(
    small_source: Path, tmp_path: Path
) -> None:
    out = small_source / "out"
    build(small_spec(small_source, tmp_path / "apart", sampling={"steps": 1}), use_ray=False)
    spec = small_spec(small_source, out, sampling={"steps": 1})

    def interrupt(done: int, planned: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(spec, use_ray=False, progress=interrupt)
    assert 0 < len(list((out / "ledger").iterdir())) < 3
    assert build(spec, use_ray=False).index.written == 10
    assert build(spec, use_ray=False).made == 0
    assert shard_bytes(out) == shard_bytes(tmp_path / "apart")
    assert problems(out) == []
    assert [shard.name for shard in list_shards(str(small_source))] == ["a.tar", "b.tar"]
    assert storage.exists(str(small_source / "out" / "_SUCCESS"))


def test_an_output_among_the_judges_is_refused(small_source: Path, tmp_path: Path) -> None:
    spec = small_spec(small_source, tmp_path / "judges" / "out", quality={"gate": {"judges": str(tmp_path / "judges")}})
    with pytest.raises(SpecError) as caught:
        require_safe_places(spec)
    assert caught.value.key == "output.path"
