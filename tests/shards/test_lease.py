"""The lease: held by one build, refused to a second, taken over when stale, and never judged by a clock."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from dentgen import storage
from dentgen.documents.lease import LeaseRecord, LiveFigures
from dentgen.errors import BuildError, StorageError
from dentgen.shards.lease import Lease, describe_lease, hold_lease, lease_url
from dentgen.shards.tar import json_bytes
from tests.conftest import ROOT


@pytest.fixture(params=["disk", "s3"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "disk":
        return str(tmp_path / "out")
    url: str = request.getfixturevalue("s3_root")
    return storage.join(url, request.node.name.replace("[", "-").replace("]", ""))


def standing(out: str) -> LeaseRecord:
    return LeaseRecord.model_validate_json(storage.read_bytes(lease_url(out)))


def put_lease_of_another_host(out: str, seconds: float = 1.5) -> bytes:
    other = LeaseRecord(
        owner="x", host="far", process=os.getpid(), machine="another", process_started=1, since="then", seconds=seconds
    )
    content = json_bytes(other.model_dump(mode="json"))
    storage.overwrite(lease_url(out), content)
    return content


def wait_for(what: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_lease_stands_until_another_build_has_it(out: str) -> None:
    """Asked by reading it: the thread that renews it may not have looked since."""
    with hold_lease(out, 60) as lease:
        assert lease.stands()
        put_lease_of_another_host(out)
        lease.check()
        assert not lease.stands()
        storage.remove(lease_url(out))
        assert not lease.stands()


def test_a_lease_is_held_renewed_and_released(out: str) -> None:
    with hold_lease(out, 1) as lease:
        assert standing(out).process == os.getpid()
        wait_for(lambda: standing(out).renewals >= 2)
        assert f"building: process {os.getpid()} on " in describe_lease(out)
        lease.check()
    assert not storage.exists(lease_url(out))
    assert describe_lease(out) == ""


def test_a_second_build_gets_an_error_that_names_the_first(out: str) -> None:
    with hold_lease(out, 3), pytest.raises(BuildError) as caught, hold_lease(out, 30):
        pass
    assert "\n" not in str(caught.value)
    assert caught.value.file == out
    assert f"process {os.getpid()} on " in caught.value.found
    assert "since 20" in caught.value.found
    assert "3 s" in caught.value.advice
    assert not storage.exists(lease_url(out)), "the first one released its own"


def test_a_build_that_raises_releases_its_lease(out: str) -> None:
    with pytest.raises(ZeroDivisionError), hold_lease(out, 30):
        _ = 1 / 0
    assert not storage.exists(lease_url(out))


@pytest.mark.slow
def test_a_lease_of_another_host_is_taken_over_once_it_is_stale(out: str) -> None:
    put_lease_of_another_host(out)
    began = time.monotonic()
    with hold_lease(out, 5):
        assert 1.5 <= time.monotonic() - began < 60
        assert standing(out).process == os.getpid()


def test_a_lease_that_is_renewed_is_not_taken_over(tmp_path: Path) -> None:
    out = str(tmp_path)
    put_lease_of_another_host(out, seconds=30)
    threading.Timer(1, lambda: put_lease_of_another_host(out, seconds=31)).start()
    with pytest.raises(BuildError) as caught, hold_lease(out, 1):
        pass
    assert " on far " in caught.value.found
    assert standing(out).host == "far"


HOLDER = """
import sys, time
from dentgen.shards.lease import hold_lease
with hold_lease(sys.argv[1], 600):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def holder(out: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease for ten minutes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", HOLDER, out], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("reaped", [True, False])
def test_the_lease_of_a_killed_process_is_taken_over_at_once(reaped: bool, out: str) -> None:
    with holder(out) as process:
        process.send_signal(signal.SIGKILL)
        if reaped:
            process.wait()
        else:
            wait_for(lambda: "Z" in Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1])
        assert describe_lease(out).startswith(f"stopped: process {process.pid} ")
        began = time.monotonic()
        with hold_lease(out, 5):
            assert time.monotonic() - began < 60, "its ten minutes are not waited for"
            assert standing(out).process == os.getpid()


def test_a_reused_process_id_is_not_the_owner(out: str) -> None:
    with hold_lease(out, 600):
        reused = standing(out).model_copy(update={"process_started": 0.5})
    storage.overwrite(lease_url(out), json_bytes(reused.model_dump(mode="json")))
    began = time.monotonic()
    with hold_lease(out, 5):
        assert time.monotonic() - began < 60, "its ten minutes are not waited for"


@pytest.mark.slow
def test_the_lease_of_a_living_process_is_not_taken_over(tmp_path: Path) -> None:
    owners: list[int] = []

    def build() -> None:
        with hold_lease(str(tmp_path), 600):
            owners.append(standing(str(tmp_path)).process)

    with holder(str(tmp_path)) as process:
        assert f"building: process {process.pid}" in describe_lease(str(tmp_path))
        waiting = threading.Thread(target=build, daemon=True)
        waiting.start()
        waiting.join(2)
        assert waiting.is_alive(), "it watches the lease"
        assert standing(str(tmp_path)).process == process.pid
        process.kill()
        process.wait()
        waiting.join(10)
        assert owners == [os.getpid()]


def test_a_lost_lease_is_an_error_that_names_the_new_holder(out: str) -> None:
    def lost(lease: Lease) -> bool:
        try:
            lease.check()
        except BuildError as error:
            return error.file == out and " on far (since then)" in error.found
        return False

    with hold_lease(out, 1) as lease:
        other = put_lease_of_another_host(out)
        wait_for(lambda: lost(lease))
    assert storage.read_bytes(lease_url(out)) == other, "it is left alone"


def test_a_lease_removed_by_hand_is_written_again(out: str) -> None:
    with hold_lease(out, 1) as lease:
        mine = standing(out).owner
        storage.remove(lease_url(out))
        wait_for(lambda: storage.exists(lease_url(out)))
        assert standing(out).owner == mine
        lease.check()


@pytest.mark.slow
def test_jumps_of_the_clock_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, now = str(tmp_path), time.time
    with hold_lease(out, 3) as lease:
        for jump in (-86400.0, 86400.0, 0.0):
            monkeypatch.setattr(time, "time", lambda jump=jump: now() + jump)
            before = standing(out).renewals
            with pytest.raises(BuildError) as caught, hold_lease(out, 1):
                pass
            assert f"process {os.getpid()} on " in caught.value.found
            assert standing(out).renewals > before
            lease.check()


def test_an_outage_of_the_storage_is_survived_and_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    out, replace, tried = str(tmp_path), storage.replace_if_unchanged, []

    def away(url: str, expected: bytes, data: bytes) -> bool:
        tried.append(url)
        raise StorageError("planted outage", file=url)

    with caplog.at_level(logging.WARNING), hold_lease(out, 1) as lease:
        monkeypatch.setattr(storage, "replace_if_unchanged", away)
        wait_for(lambda: len(tried) >= 3)
        monkeypatch.setattr(storage, "replace_if_unchanged", replace)
        before = standing(out).renewals
        wait_for(lambda: standing(out).renewals > before)
        lease.check()
    assert sum("planted outage" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("raises", [False, True])
def test_a_renewal_whose_answer_is_lost_is_our_own(
    raises: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where figures make every try a different one."""
    out, replace, samples = str(tmp_path), storage.replace_if_unchanged, count()

    def lost(*args: Any) -> bool:
        assert replace(*args) or not raises
        if raises:
            raise StorageError("planted", file=out)
        return False

    with hold_lease(out, 1) as lease:
        lease.figures = lambda: LiveFigures(samples=next(samples), rate=1.0, actors=1, rejected=0)
        monkeypatch.setattr(storage, "replace_if_unchanged", lost)
        time.sleep(0.8)
        monkeypatch.setattr(storage, "replace_if_unchanged", replace)
        before = standing(out).renewals
        wait_for(lambda: standing(out).renewals >= before + 2)
        monkeypatch.setattr(storage, "replace_if_unchanged", lambda *args: replace(*args) and False)
        wait_for(lambda: standing(out).renewals >= 3)
        lease.check()
    assert not storage.exists(lease_url(out))


def test_an_unreadable_lease_is_respected(tmp_path: Path) -> None:
    (tmp_path / "lease.json").write_text("{")
    threading.Timer(0.5, (tmp_path / "lease.json").write_text, ("{{",)).start()
    with pytest.raises(BuildError) as caught, hold_lease(str(tmp_path), 1):
        pass
    assert "process 0 on ?" in caught.value.found
