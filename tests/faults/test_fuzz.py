"""No input makes dentgen crash, hang, take a gigabyte, accept wrong labels or lose a record silently.

A failure names its seed and the command that reproduces it.
"""

from __future__ import annotations

import pytest

from tests.faults.fuzz import find


@pytest.mark.slow
def test_some_inputs_keep_the_laws() -> None:
    """A small sample for every change: each kind of input once or twice."""
    inputs, findings, outcomes = find(0, 20)
    assert not findings, "\n\n".join(map(str, findings))
    assert inputs >= 80
    assert outcomes["map accepted"] > 0
    assert outcomes["map refused"] > 0


@pytest.mark.slow
def test_a_few_hundred_inputs_keep_the_laws() -> None:
    inputs, findings, outcomes = find(0, 60)
    print(f"seeds 0 to 59: {inputs} inputs, {outcomes}")  # noqa: T201
    assert not findings, "\n\n".join(map(str, findings))
    assert inputs >= 300


@pytest.mark.long
def test_twenty_thousand_inputs_keep_the_laws() -> None:
    inputs, findings, outcomes = find(1000, 4000)
    print(f"seeds 1000 to 4999: {inputs} inputs, {outcomes}")  # noqa: T201
    assert not findings, "\n\n".join(map(str, findings))
    assert inputs >= 20_000
