"""The judges' figures: those of the gate, of the latest picture, beside the engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dentgen.conditions.decode import decode_record
from dentgen.errors import BundleError
from dentgen.models.judges import load_judges
from dentgen.quality.labelled_pictures import labelled_figures
from dentgen.records import ConditionRecord
from dentgen.studio import judging
from dentgen.studio.judging import Figures, Judging
from dentgen.studio.openers import list_records
from dentgen.studio.seen_findings import seen_findings
from dentgen.studio.settings import Settings
from dentgen.studio.stream import Frame
from dentgen.studio.work import Work
from tests.conftest import JAWS
from tests.studio.serving import until


def photographed() -> ConditionRecord:
    return decode_record(list_records(str(JAWS))[0].read(), (), with_photo=True)


def frame(number: int, record: ConditionRecord) -> Frame:
    assert record.photo is not None
    snapshot = Work(replace(record, photo=None), Settings()).snapshot()
    return Frame(number, record.photo, snapshot, number)


def test_figures_are_those_of_the_gate() -> None:
    record, shown = photographed(), list[tuple[Frame, Figures]]()
    thread = Judging(lambda one, figures: shown.append((one, figures)), lambda error: pytest.fail(str(error)))
    try:
        thread.hand(frame(4, record))
        until(lambda: shown)
    finally:
        thread.close()
    ((of, figures),) = shown
    assert of.number == 4
    assert record.photo is not None
    expected = labelled_figures(load_judges("embedded"), [record.photo], [record])
    assert figures.gate == {name: float(values[0]) for name, values in expected.items() if np.isfinite(values[0])}
    assert figures.gate["miou"] > 0.8
    assert figures.findings == tuple(seen_findings(record.photo, record))


def test_pictures_that_came_meanwhile_are_skipped() -> None:
    record, shown = photographed(), list[int]()
    thread = Judging(lambda one, figures: shown.append(one.number), lambda error: pytest.fail(str(error)))
    try:
        for number in range(40):
            thread.hand(frame(number, record))
        until(lambda: 39 in shown)
    finally:
        thread.close()
    assert len(shown) < 10
    assert shown == sorted(shown)


def test_judges_that_are_missing_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "EMBEDDED", str(tmp_path))
    told: list[Exception] = []
    thread = Judging(lambda one, figures: None, told.append)
    until(lambda: told)
    thread.close()
    assert isinstance(told[0], BundleError)
