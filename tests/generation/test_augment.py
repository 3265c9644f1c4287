"""Changed samples: labels follow what hides teeth, every value is recorded, and nothing depends on the order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import label

from dentgen.conditions.labels import INSTRUMENT
from dentgen.generation.augment import augment
from dentgen.records import ConditionName, ConditionRecord, GeneratedSample, MapArray, PaintedRegion, SampleRequest
from dentgen.spec.augment import AugmentSpec

EDGE = 96


def sample(variant: int = 0, key: str = "a") -> GeneratedSample:
    seg = np.full((EDGE, EDGE), 2, np.uint8)
    record = ConditionRecord(
        key=key, group="", split="", prompt="", license="", attributes={}, photo=None,
        conditions={"segmentation": seg, "lighting": np.full_like(seg, 90), "depth": seg.astype(np.uint16)},
        fdi=np.full_like(seg, 11),
    )  # fmt: skip
    request = SampleRequest(f"{key}-{variant}", record, variant, 2, 7, "", {})
    picture = np.full((EDGE, EDGE, 3), (150, 120, 90), np.uint8)
    picture[::8] = 40
    return GeneratedSample(request, picture)


def test_wide_and_tall_pictures_are_blurred_alike() -> None:
    """By their longer edge."""
    tall = sample()
    tall = replace(
        tall, picture=tall.picture[:, :32],
        request=replace(tall.request, record=replace(
            tall.request.record, fdi=None, conditions={"lighting": np.full((EDGE, 32), 90, np.uint8)},
        )),
    )  # fmt: skip
    lighting: dict[ConditionName, MapArray] = {"lighting": np.full((32, EDGE), 90, np.uint8)}
    request = replace(tall.request, record=replace(tall.request.record, conditions=lighting))
    wide = replace(tall, picture=np.ascontiguousarray(tall.picture.transpose(1, 0, 2)), request=request)
    first, second = (augment(each, AugmentSpec(blur=8.0)).picture for each in (tall, wide))
    assert np.abs(first.transpose(1, 0, 2).astype(int) - second).max() <= 1
    assert np.abs(first.astype(int) - tall.picture).max() > 5


def test_zeros_change_nothing() -> None:
    first = sample()
    assert augment(first, AugmentSpec()) is first


@pytest.mark.parametrize(("key", "value"), [("occluder", INSTRUMENT), ("border", 0)])
def test_what_hides_teeth_is_in_every_map(key: str, value: int) -> None:
    before = sample()
    after = augment(before, AugmentSpec.model_validate({key: 1.0}))
    record = after.request.record
    hidden = record.conditions["segmentation"] != 2
    assert 0.02 < hidden.mean() < 0.6
    assert set(np.unique(record.conditions["segmentation"])) == {2, value}
    assert record.fdi is not None
    for array in (record.fdi, record.conditions["lighting"], record.conditions["depth"]):
        assert ((array == 0) == hidden).all()
    assert ((after.picture != before.picture).any(-1) <= hidden).all(), "elsewhere the picture is as it was"
    assert ((after.picture != before.picture).any(-1) & hidden).sum() > 0.9 * hidden.sum()
    assert set(after.augment) == {key}


def test_a_rod_is_one_piece_that_reaches_an_edge() -> None:
    for variant in range(12):
        record = augment(sample(variant), AugmentSpec(occluder=1.0)).request.record
        pieces, count = label(record.conditions["segmentation"] == INSTRUMENT)
        assert count == 1
        edges = np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]])
        assert edges.any()


def test_exposure_follows_linear_light() -> None:
    first = sample()
    after = augment(first, AugmentSpec(exposure=0.5))
    level = ((first.picture[1, 0] / 255 + 0.055) / 1.055) ** 2.4 * 2 ** after.augment["exposure"]
    expected = 255 * (1.055 * np.clip(level, 0, 1) ** (1 / 2.4) - 0.055)
    assert np.abs(after.picture[1, 0] - expected).max() <= 0.6


def test_blur_noise_and_compression_act() -> None:
    first = sample()
    sharp = first.picture.astype(float).std(0).mean()
    blurred = augment(first, AugmentSpec(blur=8.0))
    assert blurred.picture.astype(float).std(0).mean() < 0.8 * sharp
    noisy = augment(first, AugmentSpec(noise=0.3))
    assert np.abs(noisy.picture[1:8].astype(float) - first.picture[1:8]).std() == pytest.approx(
        255 * noisy.augment["noise"] * 0.6, rel=0.25
    )
    pressed = augment(first, AugmentSpec(jpeg=10))
    assert 10 <= pressed.augment["jpeg"] <= 95
    assert (pressed.picture != first.picture).any()


def test_draws_depend_on_seed_key_and_variant_alone() -> None:
    spec = AugmentSpec(exposure=0.4, colour=0.1, blur=1.0, noise=0.02, jpeg=60, border=0.5, occluder=0.5)
    first, again = augment(sample(), spec), augment(sample(), spec)
    assert (first.picture == again.picture).all()
    assert first.augment == again.augment
    others = [augment(sample(1), spec), augment(sample(key="b"), spec)]
    seeded = sample()
    others.append(augment(replace(seeded, request=replace(seeded.request, seed=8)), spec))
    assert all(other.augment != first.augment for other in others)


def test_nothing_is_painted_where_something_hides_it() -> None:
    plain = sample()
    painted = (PaintedRegion("gum", "red gums", np.ones((EDGE, EDGE), np.float32)),)
    given = replace(plain, request=replace(plain.request, record=replace(plain.request.record, painted=painted)))
    changed = augment(given, AugmentSpec(occluder=1.0)).request.record
    (region,) = changed.painted
    hidden = changed.conditions["segmentation"] == INSTRUMENT
    assert hidden.any()
    assert np.array_equal(region.mask, (~hidden).astype(np.float32))
