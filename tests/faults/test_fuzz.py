"""No input makes dentgen crash, hang, take a gigabyte, accept wrong labels or lose a record silently.

A failure names its seed and the command that reproduces it.
"""

from __future__ import annotations

import pytest

from tests.faults.fuzz import find


@pytest.mark.slow
def test_a_few_hundred_inputs_keep_the_laws() -> None:
    inputs, findings = find(0, 60)
    print(f"seeds 0 to 59: {inputs} inputs")  # noqa: T201
    assert not findings, "\n\n".join(map(str, findings))
    assert inputs >= 300


@pytest.mark.long
def test_ten_thousand_inputs_keep_the_laws() -> None:
    inputs, findings = find(1000, 2000)
    print(f"seeds 1000 to 2999: {inputs} inputs")  # noqa: T201
    assert not findings, "\n\n".join(map(str, findings))
    assert inputs >= 10_000
