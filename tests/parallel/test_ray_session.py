"""Ray sessions stop what they started; relative outputs of submitted jobs are refused."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from dentgen.errors import SpecError
from dentgen.parallel.ray_session import (
    for_workers,
    in_submitted_job,
    is_relative,
    map_cluster,
    ray_session,
    require_lasting,
    require_reachable,
    short_temporary_folder,
    starts_ray,
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
    assert Path(for_workers(place)).resolve() == (tmp_path / place).resolve()
    assert not is_relative(for_workers(place))


@pytest.mark.parametrize("place", FIXED)
def test_absolute_paths_and_urls_stay_as_they_are(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_relative(place)
    for job in ("", "{}"):
        if job:
            monkeypatch.setenv(JOB, job)
        assert for_workers(place) == place.removeprefix("file://").removeprefix("local://")


def test_the_home_folder_is_that_of_the_driver(submitted_job: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/drivers")
    assert (for_workers("~/out"), for_workers("~"), for_workers("out")) == ("/drivers/out", "/drivers", "out")
    require_lasting("output.path", "~/out")


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


@pytest.mark.slow
@pytest.mark.ray
def test_a_cluster_maps_partial_functions(ray_local: None) -> None:
    results = map_cluster(partial(scaled_sum, 10, offset=1), range(5), None)
    assert sorted(results) == [1, 11, 21, 31, 41]


@pytest.mark.slow
@pytest.mark.ray
def test_an_existing_connection_is_left_open(ray_local: None) -> None:
    import ray

    with ray_session("ray://nowhere:1", {"A": "1"}):
        assert ray.is_initialized()
    assert ray.is_initialized()


@pytest.fixture
def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_an_address_where_nobody_listens_is_refused_at_once(form: str, closed_port: int) -> None:
    address = form.format(closed_port)
    began = time.monotonic()
    with pytest.raises(SpecError) as caught:
        require_reachable(address)
    assert time.monotonic() - began < 10
    assert caught.value.key == "address"
    assert str(caught.value.found).startswith(address)


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:port", "127.0.0.1:99999", "no host:1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(SpecError) as caught:
        require_reachable(address)
    assert caught.value.key == "address"


def test_listening_hosts_and_words_of_rays_are_accepted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        for form in ("127.0.0.1:{}", "ray://127.0.0.1:{}"):
            require_reachable(form.format(server.getsockname()[1]))
    for word in ("local", "auto"):
        require_reachable(word)


def test_sockets_fit_under_the_temporary_folder_of_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    with short_temporary_folder() as folder:
        assert folder is None
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("long" * 20)))
    with short_temporary_folder() as folder:
        assert folder is not None
        assert len(folder) < 40
        assert Path(folder).is_dir()
    assert not Path(folder).exists()


@pytest.mark.slow
@pytest.mark.ray
def test_a_session_stops_the_ray_that_it_started_and_sets_its_workers_environment(tmp_path: Path) -> None:
    """Under a temporary folder that is too long for its sockets, without a word; the caller's handler is kept."""
    code = """
import os, ray, signal
from dentgen.parallel.ray_session import ray_session
before = signal.signal(signal.SIGTERM, lambda *_: None), signal.getsignal(signal.SIGTERM)
with ray_session("local", {"DENTGEN_TEST": "yes"}):
    print(ray.get(ray.remote(lambda: os.environ.get("DENTGEN_TEST")).remote()), ray.is_initialized())
    print(signal.getsignal(signal.SIGTERM) == before[1])
print(ray.is_initialized())
"""
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(folder)}, capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    assert run.stdout.split() == ["yes", "True", "True", "False"]
    assert run.stderr == ""


@pytest.mark.parametrize(
    ("address", "variable", "starts"),
    [
        (None, None, True),
        ("local", "host:1", True),
        (None, "host:1", False),
        ("auto", None, False),
        (None, "local", True),
    ],
)
def test_a_session_starts_ray_only_where_no_cluster_is_named(
    address: str | None, variable: str | None, starts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    if variable:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    assert starts_ray(address) is starts
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    assert not starts_ray(address), "an open connection is used"
