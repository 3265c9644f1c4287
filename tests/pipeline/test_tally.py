"""A run's figures: what counts, and a rate over the last minute by a clock that the test sets."""

from __future__ import annotations

from dentgen.pipeline.tally import Tally
from dentgen.pipeline.unit_outcome import UnitOutcome


class Clock:
    """A clock that moves when told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_units_are_added_up_and_failed_ones_are_not() -> None:
    tally = Tally(before=50)
    tally.actors = lambda: 3
    tally.add(UnitOutcome(0, 10, bytes=7, rejected={"not_finite": 2}, attempt=2))
    tally.add(UnitOutcome(1, 0, "planted", bytes=1))
    tally.add(UnitOutcome(2, 10, bytes=5, rejected={"not_finite": 1, "invalid": 1}))
    assert (tally.units, tally.samples, tally.bytes, tally.retries) == (2, 20, 12, 1)
    assert tally.rejected == {"not_finite": 3, "invalid": 1}
    figures = tally.figures()
    assert (figures.samples, figures.rejected, figures.actors, figures.retries) == (70, 4, 3, 1)
    assert figures.rate > 0


def test_the_rate_is_that_of_the_last_minute() -> None:
    clock = Clock()
    tally = Tally(clock=clock)
    assert tally.rate() == 0
    clock.now += 10
    tally.add(UnitOutcome(0, 40))
    assert tally.rate() == 4, "over the ten seconds that passed"
    clock.now += 40
    tally.add(UnitOutcome(1, 20))
    assert tally.rate() == 60 / 50
    clock.now += 35
    assert tally.rate() == 20 / 60, "the first unit is older than a minute"
    clock.now += 60
    assert tally.rate() == 0
    assert tally.seconds == 145
    tally.add(UnitOutcome(2, 6))
    assert len(tally._recent) == 1, "what is older is forgotten"
