"""The fault matrix for builds with Ray: actors, commit tasks, nodes, the head and the driver are killed.

Drivers run from a copy of the package that logs every unit that it starts; some faults are planted there too.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from ray.cluster_utils import Cluster

from dentgen.shards.ledger import committed_units
from tests.faults.conftest import Tell
from tests.faults.drivers import Rig
from tests.faults.kills import wait_for
from tests.faults.oracle import judge
from tests.faults.ray_drivers import Driver, Plant, end_all, find, is_actor, package
from tests.jobs import conftest as jobs_conftest
from tests.jobs.cluster import Cluster as JobCluster
from tests.jobs.cluster import submit

pytestmark = [pytest.mark.faults, pytest.mark.ray]

#: A Ray head with a job server.
job_cluster = jobs_conftest.cluster


def test_a_killed_actor(rig: Rig, tell: Tell) -> None:
    package(rig)
    driver = Driver(rig)
    driver.until_committed(2)
    driver.kill_one(is_actor)
    assert driver.end().code == 0
    tell("SIGKILL of an actor", "another takes its place", judge(rig))


COMMIT = "    if record.timing is not None:\n        record = record.model_copy("
INIT = "        self._heartbeat = Heartbeat(monitor, name)\n"
#: What is planted, the exit code, and a fact that the error line must hold.
PLANTED: dict[str, tuple[Plant, int, str]] = {
    "SIGKILL of a commit worker between shard and record": (
        ("shards/ledger.py", COMMIT, "    if record.unit == 2 and {once}:\n        os.kill(os.getpid(), 9)\n"),
        0,
        "",
    ),
    "crash of an actor as it starts, once": (
        ("pipeline/actors/actor_work.py", INIT, "        if {once}:\n            os._exit(1)\n"),
        0,
        "",
    ),
    "MemoryError in an actor as it starts, once": (
        ("pipeline/actors/actor_work.py", INIT, "        if {once}:\n            raise MemoryError('planted')\n"),
        1,
        "MemoryError",
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault(fault: str, rig: Rig, tell: Tell) -> None:
    plant, code, fact = PLANTED[fault]
    package(rig, plant)
    ended = Driver(rig).end()
    assert (rig.folder / "happened").exists()
    assert ended.code == code, ended.text[-3000:]
    assert fact in ended.error, ended.text[-3000:]
    if code:
        assert rig.generate().code == 0
    tell(fault, "exit 1 with the reason; a second run finishes" if code else "finishes by itself", judge(rig))


def test_a_killed_driver(rig: Rig, tell: Tell) -> None:
    package(rig)
    driver = Driver(rig)
    driver.until_committed(2)
    family = driver.family()
    driver.process.kill()
    end_all(family)
    assert driver.end().code == -signal.SIGKILL
    assert rig.generate().code == 0
    tell("SIGKILL of the driver, with Ray", "a second run finishes", judge(rig))


def test_a_killed_head(rig: Rig, tell: Tell) -> None:
    """Without the GCS server there is no cluster: Ray ends the driver with an error line of its own."""
    package(rig)
    driver = Driver(rig, RAY_gcs_rpc_server_reconnect_timeout_s="5")
    driver.until_committed(2)
    driver.kill_one(lambda title: "gcs_server" in title.split(" ")[0])
    ended = driver.end()
    assert ended.code == 1
    assert "GCS within 5 seconds" in ended.text.splitlines()[-1]
    rig.runs.remove(ended)
    assert rig.generate().code == 0
    tell("SIGKILL of the head (GCS)", "exit 1 with Ray's reason; a second run finishes", judge(rig))


def test_an_actor_that_hangs_as_it_starts(rig: Rig, tell: Tell) -> None:
    """In the copy an actor has eight seconds to load its models."""
    load = "        self._backend = backend(plan, location)\n"
    package(rig, ("pipeline/actors/actor_work.py", load, "        while {once}:\n            time.sleep(600)\n"))
    watchdog = rig.folder / "copy" / "dentgen" / "pipeline" / "actors" / "watchdog.py"
    text = watchdog.read_text()
    assert text.count("_START_S: Final = 1800") == 1
    watchdog.write_text(text.replace("_START_S: Final = 1800", "_START_S: Final = 8"))
    ended = Driver(rig).end()
    assert ended.code == 0, ended.text[-3000:]
    assert re.search(r"actor on \S+ process \d+ .*loading", ended.text), ended.text[-3000:]
    tell("an actor hangs as it starts, once", "it is killed and restarted", judge(rig))


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head without CPUs, and two nodes with them."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    checks = {
        "health_check_period_ms": 500, "health_check_failure_threshold": 3, "health_check_initial_delay_ms": 0,
    }  # fmt: skip
    head = {
        "num_cpus": 0, "include_dashboard": False, "object_store_memory": 100 * 2**20, "_system_config": checks,
    }  # fmt: skip
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=2, object_store_memory=100 * 2**20)
    yield cluster
    cluster.shutdown()  # type: ignore[no-untyped-call]  # of Ray


def test_a_lost_node(rig: Rig, two_nodes: Cluster, tell: Tell) -> None:
    """The raylet of a working actor is killed; the other node takes over its work."""
    rig.spec = rig.spec.model_copy(update={"pipeline": rig.spec.pipeline.model_copy(update={"actors": 2})})
    package(rig)
    driver = Driver(rig, "--address", two_nodes.address)
    driver.until_committed(1)
    committed = committed_units(rig.out)
    victim = next(node for node in two_nodes.worker_nodes if find(is_actor, children(node)))
    family = children(victim)
    two_nodes.remove_node(victim, allow_graceful=False)
    end_all(family)  # they would notice after a second or two, and start units until then
    rig.interrupt(committed)
    ended = driver.end()
    assert ended.code == 0, ended.text[-3000:]
    tell("SIGKILL of a raylet (node loss)", "the other node finishes", judge(rig))


def children(node: Any) -> list[psutil.Process]:
    (raylet,) = node.all_processes["raylet"]
    return psutil.Process(raylet.process.pid).children(recursive=True)


def test_a_stopped_job(rig: Rig, job_cluster: JobCluster, tell: Tell) -> None:
    """`ray job stop`: SIGTERM, and SIGKILL three seconds later."""
    copy = package(rig, ("generation/unit.py", "    records, unreadable = read_unit(", "    time.sleep(5)\n"))
    words = ("--no-wait", "--submission-id", "stopped", "--working-dir", str(copy), "--")
    submitted = submit(job_cluster, "submit", *words, "python", "jobs/generate.py", str(rig.spec_file()))
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    wait_for(lambda: len(committed_units(rig.out)) >= 1)
    assert submit(job_cluster, "stop", "stopped").returncode == 0
    assert "stopped" in submit(job_cluster, "status", "stopped").stdout
    rig.interrupt(committed_units(rig.out))
    assert rig.interrupted, "it was stopped in the middle of a unit"
    assert rig.generate().code == 0
    tell("ray job stop", "STOPPED; a second run finishes", judge(rig))
