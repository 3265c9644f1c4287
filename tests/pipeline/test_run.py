"""A whole build in one process: progress, resuming, failures, and what is left behind in the caller's process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dentgen.errors import BuildError, BundleError
from dentgen.pipeline import run
from dentgen.pipeline.run import build
from dentgen.shards.lease import Lease, hold_lease
from dentgen.spec.build import BuildSpec
from tests.conftest import problems, small_spec, write_tar


def quick_spec(source: Path, out: Path, /, **sections: dict[str, object]) -> BuildSpec:
    return small_spec(source, out, sampling={"steps": 1}, **sections)


@pytest.fixture
def lease(tmp_path: Path) -> Iterator[Lease]:
    with hold_lease(str(tmp_path / "out"), 60) as held:
        yield held


def test_a_build_reports_progress_and_a_second_run_finds_it_done(small_source: Path, tmp_path: Path) -> None:
    spec, seen = quick_spec(small_source, tmp_path / "out"), list[tuple[int, int]]()
    first = build(spec, use_ray=False, progress=lambda *counts: seen.append(counts))
    assert seen == [(4, 10), (6, 10), (10, 10)]
    assert (first.made, first.index.written, first.actors) == (3, 10, ())
    assert Path(first.report) == tmp_path / "out" / "report.html"
    second = build(spec, use_ray=False, progress=lambda *counts: seen.append(counts))
    assert (second.made, second.index) == (0, first.index)
    assert len(seen) == 3
    assert problems(tmp_path / "out") == []


@pytest.mark.integration
def test_a_build_leaves_the_threads_of_its_caller_alone(small_source: Path, tmp_path: Path) -> None:
    spec = quick_spec(small_source, tmp_path / "out", source={"limit": 1})
    torch.set_num_threads(2)
    try:
        build(spec, use_ray=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.integration
def test_a_failed_start_leaves_nothing_of_its_own_and_everything_of_others(small_source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    spec = quick_spec(small_source, out, model={"adapters": {"misspelt": 1.0}})
    with pytest.raises(BundleError):
        build(spec, use_ray=False)
    assert not out.exists()
    (out / "mine" / "empty").mkdir(parents=True)
    with pytest.raises(BundleError):
        build(spec, use_ray=False)
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*")) == ["mine", "mine/empty"]


@pytest.mark.parametrize("taken", [False, True])
def test_a_failed_start_removes_no_plan_of_a_build_that_took_over(
    taken: bool, small_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def fails(*_: object, **__: object) -> None:
        if taken:
            other = {**json.loads((out / "lease.json").read_bytes()), "owner": "another"}
            (out / "lease.json").write_text(json.dumps(other))
        raise BuildError("planted")

    monkeypatch.setattr(run, "make_units", fails)
    with pytest.raises(BuildError):
        build(quick_spec(small_source, out), use_ray=False)
    assert (out / "plan" / "000000.json").exists() == taken


@pytest.mark.integration
def test_the_first_reasons_of_rejections_are_told(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    whole, *torn = sorted(demo_members)[:3]
    members = {key: {**demo_members[key], "seg.png": b"torn"} for key in torn}
    write_tar(tmp_path / "s" / "a.tar", {whole: demo_members[whole], **members})
    outcome = build(quick_spec(tmp_path / "s", tmp_path / "out"), use_ray=False)
    assert len(outcome.reasons) == 2
    assert outcome.rejected == {"unreadable": 4} == dict(outcome.run.rejected)
    assert (outcome.run.samples, outcome.run.units, outcome.run.retries) == (6, len(outcome.index.shards) + 1, 0)
    assert outcome.run.bytes == sum(shard.bytes for shard in outcome.index.shards)
    assert outcome.seconds > 0
    assert all(key in reason for key, reason in zip(torn, outcome.reasons, strict=True))
