"""Ray sessions stop what they started; relative outputs of submitted jobs are refused."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from dentgen.errors import SpecError
from dentgen.parallel.ray_session import (
    absolute,
    in_submitted_job,
    is_relative,
    map_cluster,
    ray_session,
    require_lasting,
)
from tests.conftest import ROOT

JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
RELATIVE, FIXED = ("out", "./out", "../out"), ("/out", "file:///out", "local:///out", "s3://bucket/out", "memory://out")


def scaled_sum(factor: int, number: int, *, offset: int) -> int:
    return factor * number + offset


@pytest.fixture
def submitted_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JOB, "{}")


@pytest.mark.parametrize("place", RELATIVE)
def test_relative_paths_become_absolute(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_relative(place)
    assert Path(absolute(place)).resolve() == (tmp_path / place).resolve()
    assert not is_relative(absolute(place))


@pytest.mark.parametrize("place", FIXED)
def test_absolute_paths_and_urls_stay_as_they_are(place: str) -> None:
    assert not is_relative(place)
    assert absolute(place) == place


@pytest.mark.parametrize("place", RELATIVE)
def test_submitted_jobs_may_not_write_to_relative_paths(place: str, submitted_job: None) -> None:
    assert in_submitted_job()
    with pytest.raises(SpecError) as caught:
        require_lasting("output.path", place)
    assert (caught.value.key, caught.value.found) == ("output.path", place)


def test_everything_else_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (*RELATIVE, *FIXED):
        require_lasting("output.path", place)
    monkeypatch.setenv(JOB, "{}")
    for place in FIXED:
        require_lasting("output.path", place)


@pytest.mark.ray
def test_a_cluster_maps_partial_functions(ray_local: None) -> None:
    results = map_cluster(partial(scaled_sum, 10, offset=1), range(5), None)
    assert sorted(results) == [1, 11, 21, 31, 41]


@pytest.mark.ray
def test_an_existing_connection_is_left_open(ray_local: None) -> None:
    import ray

    with ray_session("ray://nowhere:1", {"A": "1"}):
        assert ray.is_initialized()
    assert ray.is_initialized()


@pytest.mark.ray
def test_a_session_stops_the_ray_that_it_started_and_sets_its_workers_environment() -> None:
    code = """
import os, ray
from dentgen.parallel.ray_session import ray_session
with ray_session("local", {"DENTGEN_TEST": "yes"}):
    print(ray.get(ray.remote(lambda: os.environ.get("DENTGEN_TEST")).remote()), ray.is_initialized())
print(ray.is_initialized())
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.split() == ["yes", "True", "False"]
