"""sRGB's transfer function: known values of the standard, and the inverse."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.quality.srgb import to_linear, to_srgb


@pytest.mark.parametrize(("level", "light"), [(0.0, 0.0), (0.04045, 0.0031308), (0.5, 0.2140411), (1.0, 1.0)])
def test_values_of_the_standard(level: float, light: float) -> None:
    assert float(to_linear(np.array(level))) == pytest.approx(light, abs=1e-6)
    assert float(to_srgb(np.array(light))) == pytest.approx(level, abs=1e-5)


def test_one_is_the_inverse_of_the_other() -> None:
    levels = np.arange(256) / 255
    np.testing.assert_allclose(to_srgb(to_linear(levels)), levels, atol=1e-6)
