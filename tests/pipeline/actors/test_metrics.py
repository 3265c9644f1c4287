"""Metrics: what is exported under which name, and that what a real build exports adds up."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dentgen.pipeline.actors import metrics
from dentgen.pipeline.actors.heartbeat import Beat
from dentgen.pipeline.actors.metrics import ACTOR_METRICS, BUILD_METRICS, ActorMetrics, BuildMetrics, progress
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.index_reader import read_index
from dentgen.shards.rejections import REASON_CLASSES
from tests.conftest import ROOT, small_spec, write_tar

METRICS_BUILD = [sys.executable, "-m", "tests.pipeline.actors.metrics_build"]


class Recorded:
    """Takes the place of Ray's metrics, and keeps what they are told."""

    told: dict[str, list[tuple[float, dict[str, str]]]]

    def __init__(self, name: str, description: str, **settings: Any) -> None:
        assert description.endswith(".")
        self.name = name
        self.told.setdefault(name, [])

    def inc(self, value: float = 1.0, tags: dict[str, str] | None = None) -> None:
        assert value > 0, "Ray refuses others"
        self.told[self.name].append((value, tags or {}))

    observe = set = lambda self, value: self.told[self.name].append((value, {}))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[float, dict[str, str]]]]:
    Recorded.told = {}
    for kind in ("Counter", "Gauge", "Histogram"):
        monkeypatch.setattr(metrics, kind, Recorded)
    return Recorded.told


def test_names_are_those_of_dashboards() -> None:
    assert {*BUILD_METRICS, *ACTOR_METRICS} == {
        "dentgen_samples_written_total", "dentgen_samples_rejected_total", "dentgen_units_done_total",
        "dentgen_unit_retries_total", "dentgen_ticks_total", "dentgen_engine_busy_ratio", "dentgen_queue_wait_seconds",
        "dentgen_encode_seconds", "dentgen_put_seconds", "dentgen_slots_in_use", "dentgen_lease_renewals_total",
        "dentgen_samples_planned",
    }  # fmt: skip


def test_the_driver_counts_every_outcome_as_it_passes(told: dict[str, list[tuple[float, dict[str, str]]]]) -> None:
    outcomes = [
        UnitOutcome(0, 4, rejected={"invalid": 1, "not_finite": 2}, put_seconds=0.5),
        UnitOutcome(1, 0, "planted"),
        UnitOutcome(2, 2, rejected={"invalid": 2}),
    ]
    build = BuildMetrics(planned=10)
    assert list(build.counting(outcomes)) == outcomes
    build.renewed()
    build.running()
    assert told == {
        "dentgen_samples_planned": [(10, {})] * 2,
        "dentgen_samples_written_total": [(1, {})],
        "dentgen_samples_rejected_total": [
            (1, {"reason": "invalid"}), (2, {"reason": "not_finite"}), (2, {"reason": "invalid"})
        ],
        "dentgen_units_done_total": [(1.0, {}), (1.0, {})],
        "dentgen_put_seconds": [(0.5, {}), (0.0, {})],
        "dentgen_lease_renewals_total": [(1.0, {})],
    }  # fmt: skip
    assert set(told) == set(BUILD_METRICS)


def test_an_actor_tells_what_its_engine_did_since_the_last_heartbeat(
    told: dict[str, list[tuple[float, dict[str, str]]]],
) -> None:
    actor = ActorMetrics()
    actor.unit(attempt=1)
    actor.unit(attempt=2)
    actor.encoded(0.25)
    actor.beat(Beat("here", up_seconds=10, busy_seconds=4, ticks=8, slots_in_use=3), [0.1, 0.2])
    actor.beat(Beat("here", up_seconds=12, busy_seconds=5.5, ticks=8, slots_in_use=1), [])
    actor.stopped()
    assert told == {
        "dentgen_ticks_total": [(8, {})],
        "dentgen_unit_retries_total": [(1.0, {})],
        "dentgen_engine_busy_ratio": [(0.4, {}), (0.75, {}), (0, {})],
        "dentgen_slots_in_use": [(3, {}), (1, {}), (0, {})],
        "dentgen_queue_wait_seconds": [(0.1, {}), (0.2, {})],
        "dentgen_encode_seconds": [(0.25, {})],
    }
    assert set(told) == set(ACTOR_METRICS)


def beat(up: float, busy: float, ticks: int) -> Beat:
    return Beat("here", up_seconds=up, busy_seconds=busy, ticks=ticks)


#: The heartbeat before, a heartbeat, and what happened in between: ticks and the busy share.
PROGRESS: dict[str, tuple[Beat | None, Beat, tuple[int, float]]] = {
    "no engine yet": (None, Beat("here"), (0, 0.0)),
    "some ticks": (beat(5, 5, 9), beat(6, 5.5, 12), (3, 0.5)),
    "a long tick ended": (beat(5, 1, 9), beat(6, 3, 9), (0, 1.0)),
    "no time passed": (beat(5, 1, 9), beat(5, 1, 9), (0, 0.0)),
    "an engine that was built anew": (beat(5, 4, 9), beat(8, 2, 2), (2, 0.25)),
}


@pytest.mark.parametrize("case", PROGRESS)
def test_progress_between_two_heartbeats(case: str) -> None:
    last, now, expected = PROGRESS[case]
    assert progress(last, now) == expected


def spec_with_a_torn_record(folder: Path, demo_members: dict[str, dict[str, bytes]], actors: object = 1) -> Path:
    """A spec, as a file, of ten samples in five units; the two of one record are rejected."""
    keys = sorted(demo_members)[:5]
    records = {key: dict(demo_members[key]) for key in keys}
    records[keys[3]]["seg.png"] = b"torn"
    write_tar(folder / "conditions" / "a.tar", records)
    pipeline: dict[str, object] = {"actors": actors, "samples_per_shard": 2, "lease_seconds": 3.0}
    file = folder / "spec.json"
    file.write_text(small_spec(folder / "conditions", folder / "out", pipeline=pipeline).model_dump_json())
    return file


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("actors", [1, {"min": 1, "max": 1}], ids=["Ray Data", "a pool"])
def test_what_a_build_exports_adds_up(
    tmp_path: Path, demo_members: dict[str, dict[str, bytes]], actors: object
) -> None:
    found, processes = exported(spec_with_a_torn_record(tmp_path, demo_members, actors))
    index = read_index(str(tmp_path / "out"))
    assert (index.written, index.rejected) == (8, 2)
    assert found["ray_dentgen_samples_planned"] == {"": 10}
    assert found["ray_dentgen_samples_written_total"] == {"": index.written}
    assert found["ray_dentgen_samples_rejected_total"] == {"unreadable": index.rejected}
    assert found["ray_dentgen_units_done_total"] == {"": 5}
    assert sum(found.get("ray_dentgen_unit_retries_total", {}).values()) == 0
    assert found["ray_dentgen_ticks_total"][""] >= 2 * 2, "two steps, in four slots"
    assert found["ray_dentgen_lease_renewals_total"][""] >= 1
    assert found["ray_dentgen_put_seconds_count"] == {"": 5}
    assert found["ray_dentgen_encode_seconds_count"] == {"": 5}
    assert found["ray_dentgen_queue_wait_seconds_count"] == {"": index.written}
    assert found["ray_dentgen_slots_in_use"] == {"": 0}
    assert 0 <= found["ray_dentgen_engine_busy_ratio"][""] <= 1
    assert set(found["ray_dentgen_samples_rejected_total"]) <= set(REASON_CLASSES)
    assert not [name for name in found if "_total_total" in name]
    (driver,) = processes["ray_dentgen_samples_planned"]
    for name, workers in processes.items():
        is_drivers = any(name.startswith(f"ray_{metric}") for metric in BUILD_METRICS)
        assert (workers == {driver}) == is_drivers == (driver in workers), "alerts tell builds apart by it"


def exported(spec: Path) -> tuple[dict[str, dict[str, float]], dict[str, set[str]]]:
    """Build in a Ray of its own: values by name and reason, those of all processes added up, and which these were."""
    run = subprocess.run(
        [*METRICS_BUILD, str(spec)],
        cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=900,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    found: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    processes: dict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(run.stdout):
        for sample in family.samples:
            if "dentgen" in sample.name:
                found[sample.name][sample.labels.get("reason", "")] += sample.value
                processes[sample.name].add(sample.labels["WorkerId"])
    return {name: dict(values) for name, values in found.items()}, processes
