"""Samples that fail their judges are made again, alone, with other noise."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.documents.samples import SampleStatus
from tests.conftest import write_tar
from tests.generation.gated import OFF, made

Members = dict[str, dict[str, bytes]]


def luminance(status: SampleStatus) -> float:
    value = None if status.gate is None else status.gate.figures["luminance"]
    assert value is not None
    return value


@pytest.fixture
def source(tmp_path: Path, demo_members: Members) -> Path:
    write_tar(tmp_path / "s" / "x.tar", dict(sorted(demo_members.items())[:2]))
    return tmp_path / "s"


@pytest.mark.integration
def test_only_what_fails_is_made_again_with_other_noise(source: Path, tmp_path: Path) -> None:
    """The limit lets the brightest picture pass at once; the others get other noise, and what passes then stays."""
    plain, measured, _ = made(source, tmp_path / "a", {"limits": OFF})
    values = {status.key: luminance(status) for status in measured.samples}
    limit = sorted(values.values())[-1]
    gate = {"limits": {**OFF, "luminance": {"least": limit}}, "retry": 1}
    samples, record, calls = made(source, tmp_path / "b", gate)
    first, second = calls[0], calls[1]
    assert sorted(second) == sorted(key for key, value in values.items() if value < limit)
    assert len(first) == 4
    statuses = {status.key: status for status in record.samples}
    best = max(values, key=lambda key: values[key])
    assert (statuses[best].status, statuses[best].retries) == ("written", 0)
    assert samples[best]["png"] == plain[best]["png"]
    for key in second:
        assert statuses[key].retries == 1
        assert luminance(statuses[key]) != values[key]
    again = made(source, tmp_path / "c", gate)
    assert (again[0], [s.model_dump() for s in again[1].samples]) == (samples, [s.model_dump() for s in record.samples])


@pytest.mark.integration
def test_samples_stay_in_their_order_whichever_attempt_passed(source: Path, tmp_path: Path) -> None:
    _, measured, _ = made(source, tmp_path / "a", {"limits": OFF})
    values = sorted(map(luminance, measured.samples))
    gate = {"limits": {**OFF, "luminance": {"least": values[2]}}, "retry": 8}
    samples, record, _ = made(source, tmp_path / "b", gate)
    written = [status.key for status in record.samples if status.status == "written"]
    assert list(samples) == written == sorted(written)
