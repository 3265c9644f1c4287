"""Random light changes pixels within its bounds and moves nothing."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.quality.photometric import in_other_light
from dentgen.seeding import numpy_generator


def test_grey_stays_within_gain_offset_and_noise_and_every_draw_differs() -> None:
    """Bounds: 128 x (1 +- .38) +- 16, and five sigmas of noise of 8 levels."""
    grey = np.full((32, 32, 3), 128, np.uint8)
    means = list[float]()
    for draw in range(40):
        changed = in_other_light(grey, numpy_generator("light", draw)).astype(float)
        assert changed.shape == grey.shape
        assert changed.min() >= 128 * 0.62 - 16 - 5 * 8
        assert changed.max() <= 128 * 1.38 + 16 + 5 * 8
        means.append(float(changed.mean()))
    assert len(set(means)) == len(means)
    assert np.mean(means) == pytest.approx(128, abs=10)
    assert np.std(means) > 10


def test_an_edge_stays_where_it_is() -> None:
    """The steepest step of a blurred, noisy edge is within a pixel of the edge."""
    halves = np.zeros((32, 32, 3), np.uint8) + np.where(np.arange(32) < 13, 60, 200).astype(np.uint8)[:, None]
    for draw in range(40):
        profile = in_other_light(halves, numpy_generator("edge", draw)).astype(float).mean((0, 2))
        assert abs(int(np.abs(np.diff(profile)).argmax()) - 12) <= 1


def test_equal_draws_change_alike() -> None:
    picture = numpy_generator("picture").integers(256, size=(16, 16, 3)).astype(np.uint8)
    one, other = (in_other_light(picture, numpy_generator("same")) for _ in range(2))
    assert (one == other).all()
