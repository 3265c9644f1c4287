"""The matrix on an object store: moto's server behind a proxy that answers as a bad day at S3 does."""

from __future__ import annotations

import os
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
    """A build whose output is in a bucket; the judge reads it past the proxy."""
    out = storage.join(s3_root, "matrix", tmp_path.name)
    rig.spec = rig.spec.model_copy(update={"output": rig.spec.output.model_copy(update={"path": out})})
    return rig


@pytest.fixture
def proxy(s3_root: str) -> Iterator[FaultProxy]:
    """Between the driver and the store."""
    with fault_proxy(os.environ["AWS_ENDPOINT_URL"]) as between:
        yield between


def through(proxy: FaultProxy, attempts: int = 8) -> Callable[[], None]:
    """In the driver: the store is reached through the proxy."""

    def fault() -> None:
        host, port = proxy.server_address[:2]
        os.environ.update({"AWS_ENDPOINT_URL": f"http://{host!s}:{port}", "AWS_MAX_ATTEMPTS": str(attempts)})

    return fault


def units_put(times: int) -> Callable[[str, str], bool]:
    """The first so many PUTs of every shard and of every ledger record."""
    seen: Counter[str] = Counter()

    def when(method: str, path: str) -> bool:
        if method != "PUT" or ("/shards/" not in path and "/ledger/" not in path):
            return False
        seen[path] += 1
        return seen[path] <= times

    return when


def lists_the_ledger(method: str, path: str) -> bool:
    """A listing of the folder, not a look whether one record is there."""
    return method == "GET" and "list-type" in path and "/ledger/&" in unquote(path)


PASSING = {"500": 1, "503": 1, "slow": 1, "reset": 2, "409": 2, "cut": 1, "late": 1}


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_not_noticed(fault: str, far: Rig, proxy: FaultProxy, tell: Tell) -> None:
    times = PASSING[fault]
    proxy.when, proxy.plan = units_put(times), [fault] * (12 * times)
    assert far.generate(through(proxy)).code == 0
    assert proxy.plan == [], "every fault came"
    names = {"cut": "cuts the connection in the middle of a PUT", "late": "loses the answer to a PUT"}
    name = names.get(fault, f"answers {fault}")
    tell(f"S3 {name}, {times}x for every shard and record", "tried again, nothing else", judge(far))


def test_a_412_though_nothing_is_there(far: Rig, proxy: FaultProxy, tell: Tell) -> None:
    """What a store that lies about a conflict does: nothing is believed to be there that cannot be read."""
    proxy.when, proxy.plan = units_put(1), ["412"] * 4
    ended = far.generate(through(proxy))
    assert ended.code == 1
    assert "units failed, a second run tries them again; first unit 000000: " in ended.error
    assert "shards/000000.tar" in ended.error
    assert 0 < len(committed_units(far.out)) < 6
    assert far.generate(through(proxy)).code == 0
    tell("S3 answers 412 though nothing is there", "exit 1, names unit and file; a second run finishes", judge(far))


@pytest.mark.parametrize(("place", "fault"), [("/shards/000002.tar", "500"), ("versions/0/index.json", "reset")])
def test_a_store_that_goes_away(place: str, fault: str, far: Rig, proxy: FaultProxy, tell: Tell) -> None:
    """The fault meets everything from then on."""
    gone = [False]

    def when(method: str, path: str) -> bool:
        gone[0] = gone[0] or (method == "PUT" and place in path)
        return gone[0]

    proxy.when, proxy.plan = when, [fault] * 10_000
    ended = far.generate(through(proxy, attempts=2), pipeline={**far.spec.pipeline.model_dump(), "lease_seconds": 2})
    assert ended.code > 0
    assert ended.error
    assert f"{far.out}/" in ended.error
    assert "cannot be" in ended.error
    proxy.plan = []
    assert far.generate(through(proxy)).code == 0
    name = f"S3 goes away ({fault} for ever) at {place.lstrip('/')}"
    tell(name, f"exit {ended.code}, names the file; a second run finishes", judge(far))


def test_a_listing_that_lags_when_a_build_goes_on(far: Rig, proxy: FaultProxy, tell: Tell) -> None:
    """The ledger's listing hides what is committed: made again, found to be there, nothing put."""
    assert far.generate(lambda: (through(proxy)(), after_put("ledger/000003.json", die)())[0]).code < 0
    before = {file.url: file.tag for file in storage.list_files(storage.join(far.out, "shards"))}
    proxy.when, proxy.plan = lists_the_ledger, ["stale"]
    assert far.generate(through(proxy)).code == 0
    assert proxy.plan == []
    after = {file.url: file.tag for file in storage.list_files(storage.join(far.out, "shards"))}
    assert before.items() <= after.items()
    tell("S3 LIST lags as a build goes on", "what it hides is made again, equal, not put", judge(far, hidden=4))


def test_a_listing_that_lags_at_the_seal(far: Rig, proxy: FaultProxy, tell: Tell) -> None:
    asked = [0]

    def when(method: str, path: str) -> bool:
        asked[0] += lists_the_ledger(method, path)
        return asked[0] == 2

    proxy.when, proxy.plan = when, ["stale"]
    ended = far.generate(through(proxy))
    assert proxy.plan == []
    assert ended.code == 1
    assert "6 of 6 units are not done, first 000000" in ended.error
    assert far.generate(through(proxy)).code == 0
    tell("S3 LIST lags at the seal", "exit 1, not sealed; a second run finishes", judge(far))


def test_a_driver_killed_between_a_shard_and_its_record(far: Rig, tell: Tell) -> None:
    assert far.generate(after_put("shards/000002.tar", die)).code < 0
    assert far.generate().code == 0
    tell("S3, SIGKILL of the driver between a shard and its record", "a second run finishes", judge(far))
