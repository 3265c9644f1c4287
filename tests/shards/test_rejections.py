"""Classes of reasons, told from sentences that the code itself composes."""

from __future__ import annotations

import pytest

from dentgen.conditions.readers import scattered
from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.samples import SampleStatus
from dentgen.errors import CanvasError, ConditionError
from dentgen.shards.rejections import REASON_CLASSES, reason_class, rejections

REASONS = {
    str(ConditionError("a.tar: k", "the key of an earlier record", "a key unique in the source")): "duplicate_key",
    str(ConditionError("a.tar: k", "data that crashed the process reading it (signal 11)", "a readable record")):
        "crashed_reader",
    "k-v001: sampling gave values that are not finite": "not_finite",
    "k-v001: decoding gave values that are not finite": "not_finite",
    "k-v000: finding 1, caries at 11: found in 0.1 of its pixels and in 0.0 elsewhere, expected it to be seen":
        "finding_missed",
    "k-v000: finding 2, caries: found nothing to compare it with, expected to see it": "finding_missed",
    "k-v000: gate: miou found 0.71, expected at least 0.83": "gate",
    "k-v000: gate: shift found 3, expected at most 1; luminance found 0, expected at least 0.1 and at most 0.5": "gate",
    str(ConditionError("a.tar: k", "members ['json']", "a member 'seg.png'")): "missing_map",
    "a.tar: k: " + str(ConditionError("fdi", "none", "tooth numbers, because findings name teeth")): "missing_map",
    str(ConditionError("a.tar: k.seg.png", "an unreadable image (torn)", "a complete PNG image")): "unreadable",
    str(ConditionError("a.tar: k.json", "not JSON", "a JSON object in UTF-8, every name once")): "unreadable",
    str(ConditionError("a.tar: k.seg.png", "class values [7]", "only [0, 1]")): "invalid",
    str(ConditionError("a.tar", scattered.BETWEEN, scattered.TOGETHER)): "invalid",
    str(CanvasError("regions", key="k", found=9, expected="at most 4")): "invalid",
    "the engine died: RuntimeError()": "other",
    "": "other",
}  # fmt: skip


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_has_its_class(reason: str) -> None:
    assert reason_class(reason) == REASONS[reason]


def test_every_class_is_tried() -> None:
    assert {*REASONS.values()} == {*REASON_CLASSES}


def test_rejected_samples_are_counted_by_class() -> None:
    reasons = ["", "x gave values that are not finite", "x gave values that are not finite", "who knows"]
    samples = tuple(
        SampleStatus(
            key=f"k-v{n}", source_key="k", variant=n, status="rejected" if reason else "written", reason=reason
        )
        for n, reason in enumerate(reasons)
    )
    record = LedgerRecord(
        unit=0, spec_digest="", bundle_digest="", shard="000000.tar", bytes=1, sha256="", samples=samples
    )
    assert rejections([record, record]) == {"not_finite": 4, "other": 2}
