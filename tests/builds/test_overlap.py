"""Builds that overlap: a second one is refused, the first finishes, and whoever loses the lease stops."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from dentgen import storage
from dentgen.documents.lease import LeaseRecord
from dentgen.errors import BuildError
from dentgen.pipeline.repair import repair
from dentgen.pipeline.run import build
from dentgen.shards.gc import stray_files
from dentgen.shards.lease import describe_lease
from dentgen.shards.plan_file import read_plan
from dentgen.shards.tar import json_bytes
from dentgen.spec.build import BuildSpec
from tests.conftest import problems, shard_bytes, small_spec
from tests.pipeline.actors.two_units import until


def quick_spec(source: Path, out: Path, **pipeline: object) -> BuildSpec:
    return small_spec(source, out, sampling={"steps": 1}, pipeline={"samples_per_shard": 4, **pipeline})


def put_lease_of_another_host(out: Path) -> None:
    other = LeaseRecord(owner="x", host="far", process=7, process_started=1, since="then", seconds=60)
    storage.overwrite(str(out / "lease.json"), json_bytes(other.model_dump(mode="json")))  # whole, as builds do


@pytest.mark.integration
def test_a_second_build_and_a_repair_are_refused_and_the_first_finishes(small_source: Path, tmp_path: Path) -> None:
    """The second one starts while the first is between two units."""
    build(quick_spec(small_source, tmp_path / "whole"), use_ray=False)
    out = tmp_path / "out"
    spec, refused = quick_spec(small_source, out, lease_seconds=2), list[BuildError]()

    def overlap(samples: int, planned: int) -> None:
        if not refused:
            assert f"process {os.getpid()} on " in describe_lease(str(out))
            for second in (lambda: build(spec, use_ray=False), lambda: repair(str(out), use_ray=False)):
                with pytest.raises(BuildError) as caught:
                    second()
                refused.append(caught.value)

    build(spec, use_ray=False, progress=overlap)
    for error in refused:
        assert error.file == str(out)
        assert f"process {os.getpid()} on " in error.found
        assert "2 s" in error.advice
    assert shard_bytes(out) == shard_bytes(tmp_path / "whole")
    assert problems(out) == []
    assert not (out / "lease.json").exists()


@pytest.mark.parametrize("use_ray", [False, pytest.param(True, marks=[pytest.mark.ray, pytest.mark.slow])])
def test_a_build_that_loses_its_lease_stops_at_the_next_unit(
    use_ray: bool, small_source: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if use_ray:
        request.getfixturevalue("ray_local")
    build(quick_spec(small_source, tmp_path / "whole"), use_ray=False)
    out, done = tmp_path / "out", list[int]()

    def taken_over_after_the_first_unit(samples: int, planned: int) -> None:
        done.append(samples)
        if len(done) == 1:
            put_lease_of_another_host(out)
            assert until(lambda: all(thread.name != "dentgen-lease" for thread in threading.enumerate()))

    spec = quick_spec(small_source, out, lease_seconds=1)
    with pytest.raises(BuildError) as caught:
        build(spec, use_ray=use_ray, progress=taken_over_after_the_first_unit)
    assert caught.value.file == str(out)
    assert "process 7 on far (since then)" in caught.value.found
    assert len(done) == 1
    assert (out / "lease.json").exists(), "the winner's lease is left alone"
    (out / "lease.json").unlink()
    made = build(spec, use_ray=False).made
    assert made <= 2 if use_ray else made == 2, "actors may have committed the units that were in flight"
    assert shard_bytes(out) == shard_bytes(tmp_path / "whole")


@pytest.mark.integration
def test_a_build_that_raises_releases_its_lease_and_the_next_one_resumes(small_source: Path, tmp_path: Path) -> None:
    def fail(samples: int, planned: int) -> None:
        raise ZeroDivisionError

    spec = quick_spec(small_source, tmp_path / "out")
    with pytest.raises(ZeroDivisionError):
        build(spec, use_ray=False, progress=fail)
    assert not (tmp_path / "out" / "lease.json").exists()
    seen: list[tuple[int, int]] = []
    assert build(spec, use_ray=False, progress=lambda *counts: seen.append(counts)).made == 2
    assert seen == [(6, 10), (10, 10)], "committed samples count, and count once"


@pytest.mark.integration
def test_the_lease_is_no_stray_and_no_problem(small_source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build(quick_spec(small_source, out), use_ray=False)
    put_lease_of_another_host(out)
    assert stray_files(str(out), read_plan(str(out))) == []
    assert problems(out) == []
    (out / "lease.json").unlink()
    assert repair(str(out), use_ray=False).problems == ()
    assert not (out / "lease.json").exists()
