"""Finishing a build: sealed once or again, it is the same dataset; what is pending is not sealed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.errors import BuildError, NothingWrittenError
from dentgen.pipeline.finish import finish
from dentgen.pipeline.plan import adopt_plan, draft_plan, make_plan
from dentgen.pipeline.run import build
from dentgen.shards.index_reader import read_index
from dentgen.spec.build import BuildSpec
from tests.conftest import small_spec, write_tar


def quick_spec(source: Path, out: Path, /, **sections: dict[str, object]) -> BuildSpec:
    return small_spec(source, out, sampling={"steps": 1}, **sections)


@pytest.mark.integration
def test_finishing_again_gives_the_same_dataset(small_source: Path, tmp_path: Path) -> None:
    spec = quick_spec(small_source, tmp_path / "out", source={"limit": 1})
    build(spec, use_ray=False)
    before = {name: (tmp_path / "out" / name).read_bytes() for name in ("index.json", "samples.parquet", "README.md")}
    index, _ = finish(str(tmp_path / "out"), make_plan(spec))
    assert index == read_index(str(tmp_path / "out"))
    assert {name: (tmp_path / "out" / name).read_bytes() for name in before} == before


def test_a_build_with_a_pending_unit_is_not_sealed(small_source: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    plan = adopt_plan(out, draft_plan(small_spec(small_source, tmp_path / "out")))
    with pytest.raises(BuildError) as caught:
        finish(out, plan)
    assert "pending units, first 000000" in str(caught.value.found)
    assert not (tmp_path / "out" / "versions").exists()


def test_a_build_of_which_nothing_was_written_is_no_dataset(
    tmp_path: Path, demo_members: dict[str, dict[str, bytes]]
) -> None:
    key, members = sorted(demo_members.items())[0]
    write_tar(tmp_path / "s" / "a.tar", {key: {**members, "seg.png": b"torn"}})
    with pytest.raises(NothingWrittenError) as caught:
        build(quick_spec(tmp_path / "s", tmp_path / "out"), use_ray=False)
    assert "rejected samples" in str(caught.value.found)
    assert not (tmp_path / "out" / "index.json").exists()
