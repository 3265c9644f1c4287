"""Windows of steps, given as fractions, in which something acts."""

from __future__ import annotations


def in_window(window: tuple[float, float], step: int, steps: int) -> bool:
    """Whether step ``step`` of ``steps`` lies inside a window of fractions, with diffusers' rule at the edges."""
    return step / steps >= window[0] and (step + 1) / steps <= window[1]
