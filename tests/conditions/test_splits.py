"""Splits follow their shares, and a patient's does not depend on others."""

from __future__ import annotations

import pytest

from dentgen.conditions.splits import SPLIT_SHARES, drawn_split


def test_splits_follow_patients_and_shares() -> None:
    splits = [drawn_split(f"s0-p{n:06d}") for n in range(4000)]
    shares = [splits.count(name) / 4000 for name, _ in SPLIT_SHARES]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.03)
    assert splits[7] == drawn_split("s0-p000007")
