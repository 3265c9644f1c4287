"""Windows of steps against the rule of diffusers' ControlNet pipelines."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dentgen.diffusion.step_window import in_window


@settings(deadline=None)
@given(st.integers(1, 60), st.floats(0, 1), st.floats(0, 1))
def test_windows_are_those_of_diffusers(steps: int, start: float, end: float) -> None:
    """``controlnet_keep`` of diffusers' ControlNet pipelines."""
    keep = [1.0 - float(i / steps < start or (i + 1) / steps > end) for i in range(steps)]
    assert [float(in_window((start, end), step, steps)) for step in range(steps)] == keep
