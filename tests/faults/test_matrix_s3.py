"""The fault matrix on an object store: moto's server behind a proxy that fails as S3 may on a bad day."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from dentgen import storage
from dentgen.shards.ledger import committed_units
from tests.faults.conftest import Tell
from tests.faults.drivers import Rig
from tests.faults.kills import after_put, die
from tests.faults.oracle import judge
from tests.s3_faults import FaultProxy, fault_proxy

pytestmark = pytest.mark.faults


@pytest.fixture
def far(rig: Rig, s3_root: str, tmp_path: Path) -> Rig:
    """A build whose output is in a bucket; the oracle does not read it through the proxy."""
    out = storage.join(s3_root, "matrix", tmp_path.name)
    rig.spec = rig.spec.model_copy(update={"output": rig.spec.output.model_copy(update={"path": out})})
    return rig


@pytest.fixture
def proxy(s3_root: str) -> Iterator[FaultProxy]:
    """A proxy between the driver and the store."""
    with fault_proxy(os.environ["AWS_ENDPOINT_URL"]) as between:
        yield between


def through(proxy: FaultProxy, attempts: int = 8) -> Callable[[], None]:
    """In the driver: reach the store through the proxy."""

    def fault() -> None:
        host, port = proxy.server_address[:2]
        os.environ.update({"AWS_ENDPOINT_URL": f"http://{host!s}:{port}", "AWS_MAX_ATTEMPTS": str(attempts)})

    return fault


def units_put(times: int) -> Callable[[str, str], bool]:
    """Match the first N PUTs of every shard and of every ledger record."""
    seen: Counter[str] = Counter()

    def when(method: str, path: str) -> bool:
        if method != "PUT" or ("/shards/" not in path and "/ledger/" not in path):
            return False
        seen[path] += 1
        return seen[path] <= times

    return when


def lists_the_ledger(method: str, path: str) -> bool:
    """Match listings of the folder, not checks for one record."""
    return method == "GET" and "list-type" in path and "/ledger/&" in unquote(path)


TRANSIENT = {"500": 1, "503": 1, "slow": 1, "reset": 2, "409": 2, "cut": 1, "late": 1}


@pytest.mark.parametrize("fault", TRANSIENT)
def test_transient_faults_have_no_effect(fault: str, far: Rig, proxy: FaultProxy, tell: Tell) -> None:
    times = TRANSIENT[fault]
    proxy.when, proxy.plan = units_put(times), [fault] * (12 * times)
    assert far.generate(through(proxy)).code == 0
    assert proxy.plan == [], "every fault happened"
    names = {"cut": "cuts the connection in the middle of a PUT", "late": "loses the answer to a PUT"}
    name = names.get(fault, f"answers {fault}")
    tell(f"S3 {name}, {times}x for every shard and record", "retried, no other effect", judge(far))


def test_a_false_412_is_not_believed(far: Rig, proxy: FaultProxy, tell: Tell) -> None:
    """A store answers that an object exists, but there is none to be read."""
    proxy.when, proxy.plan = units_put(1), ["412"] * 4
    ended = far.generate(through(proxy))
    assert ended.code == 1
    assert "unit 000000: " in ended.error
    assert "shards/000000.tar" in ended.error
    assert 0 < len(committed_units(far.out)) < 6
    assert far.generate(through(proxy)).code == 0
    tell("S3 answers 412 where nothing exists", "exit 1, names unit and file; a second run finishes", judge(far))


@pytest.mark.parametrize(("place", "fault"), [("/shards/000002.tar", "500"), ("versions/0/index.json", "reset")])
def test_an_outage_of_the_store(place: str, fault: str, far: Rig, proxy: FaultProxy, tell: Tell) -> None:
    """Every request fails from then on."""
    gone = [False]

    def when(method: str, path: str) -> bool:
        gone[0] = gone[0] or (method == "PUT" and place in path)
        return gone[0]

    proxy.when, proxy.plan = when, [fault] * 10_000
    ended = far.generate(through(proxy, attempts=2), pipeline={**far.spec.pipeline.model_dump(), "lease_seconds": 2})
    assert ended.code > 0
    assert ended.error
    assert f"{far.out}/" in ended.error
    proxy.plan = []
    assert far.generate(through(proxy)).code == 0
    name = f"S3 fails for good ({fault}) at {place.lstrip('/')}"
    tell(name, f"exit {ended.code}, names the file; a second run finishes", judge(far))


def test_a_stale_listing_when_a_build_resumes(far: Rig, proxy: FaultProxy, tell: Tell) -> None:
    """The ledger's listing hides committed units: they are generated again, found committed, and not written."""
    assert far.generate(lambda: (through(proxy)(), after_put("ledger/000003.json", die)())[0]).code < 0
    before = {file.url: file.tag for file in storage.list_files(storage.join(far.out, "shards"))}
    proxy.when, proxy.plan = lists_the_ledger, ["stale"]
    assert far.generate(through(proxy)).code == 0
    assert proxy.plan == []
    after = {file.url: file.tag for file in storage.list_files(storage.join(far.out, "shards"))}
    assert before.items() <= after.items()
    tell("S3 LIST is stale at a resume", "hidden units are generated again, equal, not written", judge(far, hidden=4))


def test_a_stale_listing_at_the_seal(far: Rig, proxy: FaultProxy, tell: Tell) -> None:
    listings = [0]

    def when(method: str, path: str) -> bool:
        listings[0] += lists_the_ledger(method, path)
        return listings[0] == 2

    proxy.when, proxy.plan = when, ["stale"]
    ended = far.generate(through(proxy))
    assert proxy.plan == []
    assert ended.code == 1
    assert re.search(r"6 pending units.*000000", ended.error), ended.error
    assert far.generate(through(proxy)).code == 0
    tell("S3 LIST is stale at the seal", "exit 1, not sealed; a second run finishes", judge(far))


def test_a_driver_killed_between_a_shard_and_its_record(far: Rig, tell: Tell) -> None:
    assert far.generate(after_put("shards/000002.tar", die)).code < 0
    assert far.generate().code == 0
    tell("S3, SIGKILL of the driver between a shard and its record", "a second run finishes", judge(far))
