"""The lease: held by one, told to the second, taken over from the dead and the silent, and never by a clock."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dentgen import storage
from dentgen.documents import LeaseRecord
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


def wait_for(what: object, seconds: float = 20) -> None:
    assert callable(what)
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_lease_is_held_renewed_and_released(out: str) -> None:
    with hold_lease(out, 1) as lease:
        assert standing(out).process == os.getpid()
        wait_for(lambda: standing(out).renewals >= 2)
        assert f"building: process {os.getpid()} on " in describe_lease(out)
        lease.check()
    assert not storage.exists(lease_url(out))
    assert describe_lease(out) == ""


def test_a_second_build_is_told_who_builds(out: str) -> None:
    with hold_lease(out, 3), pytest.raises(BuildError) as caught, hold_lease(out, 30):
        pass
    line = str(caught.value)
    assert "\n" not in line
    assert f"process {os.getpid()} on " in line
    assert "since 20" in line
    assert "silent for 3 s" in line
    assert not storage.exists(lease_url(out)), "the first one released its own"


def test_a_build_that_raises_releases(out: str) -> None:
    with pytest.raises(ZeroDivisionError), hold_lease(out, 30):
        _ = 1 / 0
    assert not storage.exists(lease_url(out))


def test_a_silent_lease_of_another_host_is_taken_over_after_its_seconds(out: str) -> None:
    put_lease_of_another_host(out)
    began = time.monotonic()
    with hold_lease(out, 5):
        assert 1.5 <= time.monotonic() - began < 60
        assert standing(out).process == os.getpid()


def test_a_lease_that_is_renewed_while_one_looks_is_never_taken(tmp_path: Path) -> None:
    out = str(tmp_path)
    put_lease_of_another_host(out, seconds=30)
    threading.Timer(1, lambda: put_lease_of_another_host(out, seconds=31)).start()
    with pytest.raises(BuildError, match=r"process .* on far .* builds here and lives"), hold_lease(out, 1):
        pass
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
        assert f"broken off: process {process.pid}" in describe_lease(out)
        began = time.monotonic()
        with hold_lease(out, 5):
            assert time.monotonic() - began < 60, "its ten minutes are not waited for"
            assert standing(out).process == os.getpid()


def test_a_process_id_that_was_given_to_another_process_is_no_owner(out: str) -> None:
    with hold_lease(out, 600):
        reused = standing(out).model_copy(update={"process_started": 0.5})
    storage.overwrite(lease_url(out), json_bytes(reused.model_dump(mode="json")))
    began = time.monotonic()
    with hold_lease(out, 5):
        assert time.monotonic() - began < 60, "its ten minutes are not waited for"


def test_a_living_process_is_not_taken_over_before_its_time(tmp_path: Path) -> None:
    owners: list[int] = []

    def build() -> None:
        with hold_lease(str(tmp_path), 600):
            owners.append(standing(str(tmp_path)).process)

    with holder(str(tmp_path)) as process:
        assert f"building: process {process.pid}" in describe_lease(str(tmp_path))
        waiting = threading.Thread(target=build, daemon=True)
        waiting.start()
        waiting.join(3)
        assert waiting.is_alive(), "it looks on"
        assert standing(str(tmp_path)).process == process.pid
        process.kill()
        process.wait()
        waiting.join(10)
        assert owners == [os.getpid()]


def test_who_lost_the_lease_learns_by_whom_and_leaves_it_alone(out: str) -> None:
    def lost(lease: Lease) -> bool:
        try:
            lease.check()
        except BuildError as error:
            return "process" in str(error) and "on far (since then) took over" in str(error)
        return False

    with hold_lease(out, 1) as lease:
        other = put_lease_of_another_host(out)
        wait_for(lambda: lost(lease))
    assert storage.read_bytes(lease_url(out)) == other


def test_a_lease_removed_by_hand_comes_back(out: str) -> None:
    with hold_lease(out, 1) as lease:
        mine = standing(out).owner
        storage.remove(lease_url(out))
        wait_for(lambda: storage.exists(lease_url(out)))
        assert standing(out).owner == mine
        lease.check()


def test_what_a_clock_says_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, now = str(tmp_path), time.time
    with hold_lease(out, 3) as lease:
        for jump in (-86400.0, 86400.0, 0.0):
            monkeypatch.setattr(time, "time", lambda jump=jump: now() + jump)
            before = standing(out).renewals
            with pytest.raises(BuildError, match="builds here and lives"), hold_lease(out, 1):
                pass
            assert standing(out).renewals > before
            lease.check()


def test_a_storage_that_is_away_is_waited_for_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    out, replace, tried = str(tmp_path), storage.replace_if_unchanged, []

    def away(url: str, expected: bytes, data: bytes) -> bool:
        tried.append(url)
        raise StorageError(f"{url}: cannot be put: away")

    with caplog.at_level(logging.WARNING), hold_lease(out, 1) as lease:
        monkeypatch.setattr(storage, "replace_if_unchanged", away)
        wait_for(lambda: len(tried) >= 3)
        monkeypatch.setattr(storage, "replace_if_unchanged", replace)
        before = standing(out).renewals
        wait_for(lambda: standing(out).renewals > before)
        lease.check()
    assert caplog.text.count("the lease cannot be renewed") == 1


def test_a_renewal_whose_answer_is_lost_is_found_to_be_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, replace = str(tmp_path), storage.replace_if_unchanged
    monkeypatch.setattr(storage, "replace_if_unchanged", lambda *args: replace(*args) and False)
    with hold_lease(out, 1) as lease:
        wait_for(lambda: standing(out).renewals >= 3)
        lease.check()
    assert not storage.exists(lease_url(out))


def test_a_lease_that_nobody_can_read_is_respected(tmp_path: Path) -> None:
    (tmp_path / "lease.json").write_text("{")
    threading.Timer(0.5, (tmp_path / "lease.json").write_text, ("{{",)).start()
    with pytest.raises(BuildError, match=r"process 0 on \?"), hold_lease(str(tmp_path), 1):
        pass
