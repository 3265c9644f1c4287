"""A stored segment is cut from the index of its source once more, and a lost index is made again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from dentgen.errors import StorageError
from dentgen.pipeline import recut
from dentgen.pipeline.plan import adopt_plan, draft_plan
from dentgen.pipeline.recut import before_next, index_again, indexed_units
from dentgen.pipeline.verify import verify
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import read_plan, read_segment
from dentgen.spec.build import BuildSpec
from tests.conftest import small_spec, write_tar
from tests.pipeline.growing import Members, add_shard, files, grow, growing_spec, without_a_model


@pytest.fixture
def spec(small_source: Path, tmp_path: Path) -> BuildSpec:
    return small_spec(small_source, tmp_path / "out")


@pytest.fixture
def plan(spec: BuildSpec) -> Plan:
    return adopt_plan(spec.output.path, draft_plan(spec))


def test_a_segment_is_cut_from_its_index_once_more(spec: BuildSpec, plan: Plan) -> None:
    assert indexed_units(spec.output.path, plan, [read_segment(spec.output.path)]) == plan.units


def test_a_lost_index_is_made_again_if_the_source_is_the_same(
    spec: BuildSpec, plan: Plan, small_source: Path, tmp_path: Path
) -> None:
    stored = tmp_path / "out" / "plan" / "source.parquet"
    before = stored.read_bytes()
    stored.unlink()
    with pytest.raises(StorageError):
        indexed_units(spec.output.path, plan, [read_segment(spec.output.path)])
    (small_source / "c.tar").write_bytes((small_source / "a.tar").read_bytes())  # new: of no segment yet
    index_again(spec.output.path, plan, [0], str(small_source))
    assert stored.read_bytes() == before
    stored.unlink()
    (small_source / "b.tar").unlink()
    index_again(spec.output.path, plan, [0], str(small_source))
    index_again(spec.output.path, plan, [0], str(tmp_path / "nowhere"))
    assert not stored.exists()


@pytest.mark.integration
def test_many_lost_indexes_are_made_again_by_one_look_at_plan_and_source(
    tmp_path: Path, demo_members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_a_model(monkeypatch)
    out, source, seen = tmp_path / "out", tmp_path / "in", Counter[str]()
    for number, name in enumerate("abc"):
        add_shard(source, name, demo_members, 2 * number)
        write_tar(source / f"{name}0.tar", {})  # without a unit, so that nobody knows of which segment it was
        grow(growing_spec(source, out))
    before = files(out, "plan")
    for stored in (out / "plan").glob("*source.parquet"):
        stored.unlink()
    for function in ("read_segment", "known_shards", "list_shards"):
        counted = partial(_counted, seen, function, getattr(recut, function))
        monkeypatch.setattr(recut, function, counted)
    index_again(str(out), read_plan(str(out)), [0, 1, 2], str(source))
    assert seen == {"read_segment": 3, "known_shards": 1, "list_shards": 1}
    assert sorted(files(out, "plan")) == sorted(before)
    assert list(verify(str(out))) == []


def _counted(seen: Counter[str], name: str, function: Callable[..., object], *given: object) -> object:
    seen[name] += 1
    return function(*given)


def test_a_plan_tells_the_next_segment_what_it_has(spec: BuildSpec, plan: Plan) -> None:
    _, indexes = (draft := draft_plan(spec)).shards, list(draft.indexes)
    whole = before_next(spec.output.path, plan, (), indexes, spec)
    assert (whole.units, whole.records, len(whole.keys)) == (3, 5, 5)
    left = before_next(spec.output.path, plan, (2,), indexes, spec)
    assert (left.units, left.records, left.keys) == (3, 3, frozenset(indexes[0].keys))
