"""Faults of cameras: none at strength 0, spread as measured at 1, and nothing moves but by a shake."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.phantom.light import sample_lighting
from dentgen.phantom.surroundings.exposure import blurred, compressed, exposed, sample_exposure
from dentgen.quality.metrics import linear_to_lab
from dentgen.seeding import numpy_generator


def test_no_strength_is_no_fault() -> None:
    exposure = sample_exposure(0.0, 0.0, 40.0, numpy_generator("none"))
    light = np.random.default_rng(0).random((16, 16, 3))
    np.testing.assert_allclose(blurred(light, exposure), light)
    picture = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert (compressed(picture, exposure, numpy_generator("grain")) == picture).all()
    assert exposure.target == pytest.approx(0.66)
    assert exposure.defocus == 0


def test_lightness_of_teeth_spreads_as_in_photographs() -> None:
    """5th, 50th and 95th percentile of L* are 48, 66 and 82 in photographs."""
    targets = [sample_exposure(1.0, 0.3, 40.0, numpy_generator("spread", number)).target for number in range(2000)]
    lightness = [float(linear_to_lab(np.full(3, target))[0]) for target in targets]
    np.testing.assert_allclose(np.percentile(lightness, [5, 50, 95]), [48, 66, 82], atol=5)


def test_faults_change_light_as_they_say() -> None:
    exposures = [sample_exposure(1.0, 0.5, 40.0, numpy_generator("faults", number)) for number in range(200)]
    light = np.zeros((32, 32, 3))
    light[12:20, 12:20] = 0.5
    shaken = next(each for each in exposures if each.motion_px.any() and each.fog == 0)
    assert (blurred(light, shaken) > 1e-6).any(-1).sum() > 64
    foggy = next(each for each in exposures if each.fog > 0)
    assert blurred(light, foggy)[0, 0].min() == pytest.approx(0.55 * foggy.fog)
    lighting = sample_lighting(numpy_generator("lamps"))
    before_black = [
        each for each in exposures if exposed(lighting, each).surround.max() < 0.1 * lighting.surround.max()
    ]
    assert 60 < len(before_black) < 140
    assert all(exposed(lighting, each).target == each.target for each in exposures)


def test_compression_keeps_shape_and_changes_pixels() -> None:
    exposure = next(
        each
        for number in range(50)
        if (each := sample_exposure(1.0, 0.0, 40.0, numpy_generator("jpeg", number))).quality < 70
    )
    picture = np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    found = compressed(picture, exposure, numpy_generator("grain"))
    assert found.shape == picture.shape
    assert found.dtype == np.uint8
    assert (found != picture).any()


def test_depth_is_blurred_more_from_nearby() -> None:
    near, far = (sample_exposure(1.0, 0.0, width, numpy_generator("lens")).defocus for width in (20.0, 80.0))
    assert near == pytest.approx(4 * far)
    assert 0.25 * 0.004 * 256 / 20 <= near <= 0.25 * 0.03 * 256 / 20
