"""A build's standing, from outside: counts, rate, lease and rejections, at the cost of what is new."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dentgen import storage
from dentgen.documents.lease import LeaseRecord, LiveFigures
from dentgen.documents.ledger import LedgerRecord, UnitTiming
from dentgen.documents.samples import SampleStatus
from dentgen.documents.units import Unit
from dentgen.errors import BuildError
from dentgen.shards import layout, ledger, standing
from dentgen.shards.lease import hold_lease, lease_url
from dentgen.shards.ledger import ledger_url
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import write_plan
from dentgen.shards.standing import BuildWatch
from dentgen.shards.tar import json_bytes
from dentgen.shards.unit_table import UnitTable
from dentgen.spec.build import BuildSpec

#: Ten units of four samples.
PLAN = Plan(
    segment=0, spec=BuildSpec.model_validate({"sampling": {"variants": 4}}), spec_digest="s", bundle_digest="b",
    environment={"device": "cpu"},
    units=UnitTable.of(Unit(id=n, shard="a.tar", start=n, stop=n + 1, records=1, shard_bytes=9) for n in range(10)),
)  # fmt: skip


class Clock:
    """A clock that moves when told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["disk", "s3"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "disk":
        return str(tmp_path / "out")
    url: str = request.getfixturevalue("s3_root")
    return storage.join(url, request.node.name.replace("[", "-").replace("]", ""))


@pytest.fixture
def plan(out: str) -> None:
    assert write_plan(out, PLAN)


def commit(out: str, unit: int, committed: float, reason: str = "", attempt: int = 1) -> None:
    """A ledger record of four samples, of which the last is rejected if there is a reason."""
    samples = tuple(
        SampleStatus(
            key=f"k{unit}-v00{n}", source_key=f"k{unit}", variant=n,
            status="rejected" if reason and n == 3 else "written", reason=reason if n == 3 else "",
        )
        for n in range(4)
    )  # fmt: skip
    timing = UnitTiming(started=committed - 1, seconds=1, committed=committed, worker="w", attempt=attempt)
    record = LedgerRecord(
        unit=unit, spec_digest="", bundle_digest="", shard=f"{unit:06d}.tar", bytes=1, sha256="", samples=samples,
        timing=timing,
    )  # fmt: skip
    storage.overwrite(ledger_url(out, f"{unit:06d}"), json_bytes(record.model_dump(mode="json")))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the units whose commit records were read."""
    read, names = ledger.read_ledger, list[str]()

    def noted(out: str, unit: str) -> LedgerRecord:
        names.append(unit)
        return read(out, unit)

    monkeypatch.setattr(ledger, "read_ledger", noted)
    return names


@pytest.mark.usefixtures("plan")
def test_a_running_build_is_followed_and_only_new_records_are_read(out: str, reads: list[str]) -> None:
    clock = Clock()
    watch = BuildWatch(out, clock)
    far = 5e9  # another machine's clock is years ahead
    commit(out, 0, far)
    commit(out, 1, far + 10, "k: sampling gave values that are not finite", attempt=2)
    first = watch.look()
    assert first is not None
    assert (first.units, first.units_done, first.samples, first.samples_done) == (10, 2, 40, 8)
    assert (first.rejected, first.retried, first.finished) == ({"not_finite": 1}, 1, False)
    assert first.rate == pytest.approx(4 / 10), "the second unit, in the ten seconds since the first"
    clock.now += 10
    commit(out, 2, far + 20, "k: found [7], expected [1]")
    second = watch.look()
    assert second is not None
    assert second.rate == pytest.approx(8 / 20)
    assert second.seconds_left == pytest.approx((40 - 12) / (8 / 20))
    assert (second.rejected, [*second.last_rejected]) == (
        {"not_finite": 1, "invalid": 1},
        ["k: found [7], expected [1]", "k: sampling gave values that are not finite"],
    )
    clock.now += 59
    third = watch.look()
    assert third is not None
    assert third.rate == pytest.approx(4 / 60), "over the last minute"
    clock.now += 2
    fourth = watch.look()
    assert fourth is not None
    assert (fourth.rate, fourth.seconds_left) == (0, None)
    assert sorted(reads) == ["000000", "000001", "000002"], "each record once"


@pytest.mark.usefixtures("plan")
def test_a_long_ledger_is_read_in_parts_and_counts_as_done_at_once(
    out: str, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "_PER_LOOK", 3)
    for unit in range(7):
        commit(out, unit, 100 + unit, f"old {unit}")
    watch = BuildWatch(out, Clock())
    first = watch.look()
    assert first is not None
    assert (first.units_done, first.unread, sorted(reads)) == (7, 4, ["000004", "000005", "000006"])
    assert [*first.last_rejected] == ["old 6", "old 5", "old 4"]
    assert (first.rejected, watch.look() and len(reads)) == ({"other": 3}, 6)
    last = watch.look()
    assert last is not None
    assert (last.unread, last.rejected, [*last.last_rejected]) == (0, {"other": 7}, ["old 6", "old 5", "old 4"])
    assert last.rate == first.rate, "what was there before is not new"


@pytest.mark.usefixtures("plan")
def test_the_lease_is_watched_by_the_watchers_own_clock(out: str) -> None:
    clock = Clock()
    watch = BuildWatch(out, clock)
    record = LeaseRecord(owner="x", host="far", process=1, machine="m", process_started=1, since="then", seconds=9)
    for renewals, passed, silence in ((0, 0, 0), (0, 5, 5), (1, 5, 0), (1, 7, 7)):
        clock.now += passed
        storage.overwrite(lease_url(out), json_bytes(record.model_copy(update={"renewals": renewals}).model_dump()))
        found = watch.look()
        assert found is not None
        assert found.lease is not None
        assert (found.lease.renewals, found.silence, found.lease.live) == (renewals, silence, None)


@pytest.mark.usefixtures("plan")
def test_figures_of_the_driver_travel_with_its_lease(out: str) -> None:
    figures = LiveFigures(samples=12, rate=3.5, actors=2, rejected=1)
    with hold_lease(out, 1) as lease:
        lease.figures = lambda: figures
        watch = BuildWatch(out)
        found = until(watch, lambda live: live is not None)
    assert found == figures
    released = watch.look()
    assert released is not None
    assert released.lease is None


def until(watch: BuildWatch, wanted: Callable[[LiveFigures | None], bool]) -> LiveFigures | None:
    for _ in range(600):
        found = watch.look()
        if found is not None and found.lease is not None and wanted(found.lease.live):
            return found.lease.live
        time.sleep(0.05)
    raise AssertionError("the lease tells nothing")


@pytest.mark.usefixtures("plan")
def test_a_build_is_finished_when_it_says_so_and_every_unit_is_done(out: str) -> None:
    watch = BuildWatch(out)
    for unit in range(9):
        commit(out, unit, 100)
    storage.overwrite(storage.join(out, layout.SUCCESS), b"")
    early = watch.look()
    commit(out, 9, 100)
    done = watch.look()
    assert early is not None
    assert done is not None
    assert (early.finished, done.finished) == (False, True)


@pytest.mark.usefixtures("plan")
def test_a_torn_record_is_left_to_verify_and_read_once_it_is_whole(out: str) -> None:
    for unit in (0, 2):
        commit(out, unit, 100, "planted")
    storage.overwrite(ledger_url(out, "000001"), b"{")
    watch = BuildWatch(out)
    found = watch.look()
    assert found is not None
    assert (found.units_done, found.rejected, found.unread) == (3, {"other": 2}, 1)
    commit(out, 1, 100, "planted")
    mended = watch.look()
    assert mended is not None
    assert (mended.units_done, mended.rejected, mended.unread) == (3, {"other": 3}, 0)


def test_nothing_is_no_build_and_a_lease_alone_is_one_that_is_planned(out: str) -> None:
    with pytest.raises(BuildError) as caught:
        BuildWatch(out).look()
    assert caught.value.found == "no plan"
    with hold_lease(out, 30):
        assert BuildWatch(out).look() is None
