"""What a watcher sees: a panel for a terminal, a line for a log."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from dentgen.cli.status_view import line, panel
from dentgen.documents.lease import LeaseRecord, LiveFigures
from dentgen.shards.standing import Standing

LEASE = LeaseRecord(
    owner="x", host="far", process=17, machine="another", process_started=1, since="2026-01-01T00:00:00+00:00",
    seconds=60, live=LiveFigures(samples=70, rate=2.5, actors=3),
)  # fmt: skip
RUNNING = Standing(
    units=10, units_done=4, samples=200, samples_done=80, rate=2.0, lease=LEASE, silence=7.4,
    rejected={"not_finite": 2, "invalid": 1}, last_rejected=("k: found \x1b[31m[7]",), retried=1, unread=0,
    finished=False,
)  # fmt: skip


def drawn(standing: Standing, note: str = "") -> str:
    console = Console(file=(text := io.StringIO()), width=120)
    console.print(panel("out/demo", standing, note))
    return text.getvalue()


def test_a_panel_shows_progress_rate_holder_and_rejections() -> None:
    text = drawn(RUNNING, "cannot be read")
    for fact in (
        "out/demo", "80 of 200 samples, 4 of 10 units, 40%", "process 17 on far", "unchanged for 7 s",
        "2 samples/s over the last minute", "0:01:00", "3 actors alive, 2.5 samples/s", "3: 2 not_finite, 1 invalid",
        "tried again    1 unit ", "k: found", "cannot be read",
    ):  # fmt: skip
        assert fact in text
    bar, counts = text.splitlines()[1:3]
    assert "━" in bar
    assert "samples" not in bar
    assert "80 of 200" in counts
    assert "\x1b[31m" not in text, "control characters of data are escaped"


def test_a_line_says_the_same_without_single_reasons() -> None:
    text = line(RUNNING)
    assert "\n" not in text
    assert text.startswith("80 of 200 samples, 4 of 10 units, 40%, state building: process 17 on far")
    assert "left 0:01:00" in text
    assert "k: found" not in text


def test_a_finished_build_has_no_rate_and_no_driver() -> None:
    text = line(replace(RUNNING, finished=True, samples_done=200, units_done=10, retried=0))
    assert text == "200 of 200 samples, 10 of 10 units, 100%, state finished, rejected 3: 2 not_finite, 1 invalid"


def test_what_is_unknown_is_said_to_be() -> None:
    old = LEASE.model_copy(update={"live": None})
    text = line(replace(RUNNING, rate=None, lease=old, rejected={}, unread=5))
    assert "rate unknown, left unknown" in text
    assert "driver" not in text
    assert "rejected 0 (5 ledger records still to be read)" in text
    assert "state nobody is building" in line(replace(RUNNING, lease=None))


def test_one_actor_and_one_unit_are_singular() -> None:
    assert LEASE.live is not None
    alone = LEASE.model_copy(update={"live": LEASE.live.model_copy(update={"actors": 1})})
    text = line(replace(RUNNING, lease=alone))
    assert "driver 1 actor alive, 2.5 samples/s" in text
    assert "tried again 1 unit" in text.split(", ")
    assert "tried again 2 units" in line(replace(RUNNING, retried=2)).split(", ")
