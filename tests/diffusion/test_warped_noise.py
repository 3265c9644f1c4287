"""Warped noise: standard normal and independent whatever the motion, and carried exactly where that can be said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dentgen.diffusion.interpolation import NoisePath
from dentgen.diffusion.warped_noise import WarpedNoise, transport
from dentgen.seeding import NoiseKey

CELL = 4
#: Latents of a frame.
H, W = 4, 6
CHANNELS = 64
Motion = NDArray[np.float32]


def still(right: float = 0, down: float = 0, height: int = H * CELL, width: int = W * CELL) -> Motion:
    """The same motion everywhere."""
    return np.broadcast_to(np.array([right, down], np.float32), (height, width, 2)).copy()


def turned(hidden: float = 0.0) -> Motion:
    """A turn and zoom about the middle that also shears, with random pixels hidden."""
    row, column = np.mgrid[: H * CELL, : W * CELL] + 0.5
    away = np.stack([column - W * CELL / 2, row - H * CELL / 2], -1)
    motion = (away @ np.array([[-0.4, 0.2], [-0.15, 0.5]]) + 1.3).astype(np.float32)
    motion[np.random.default_rng(0).random(motion.shape[:2]) < hidden] = np.nan
    return motion


def squeezed() -> Motion:
    """All pixels come from three columns of the reference, so most find their value taken."""
    motion = still()
    motion[..., 0] = -np.arange(W * CELL) + np.arange(W * CELL) % 3
    return motion


def drawn(motion: Motion, seed: int = 0, channels: int = CHANNELS, purpose: str = "initial") -> torch.Tensor:
    noise = NoiseKey(seed, "series", 0)
    return WarpedNoise(noise, transport(motion, CELL)).normal(purpose, 0, (channels, H, W))


def shared(seed: int = 0, channels: int = CHANNELS) -> torch.Tensor:
    return NoiseKey(seed, "series", 0).normal("initial", 0, (channels, H, W))


MOTIONS = {
    "turned": turned(), "partly hidden": turned(0.3), "nearly hidden": turned(0.97), "squeezed": squeezed(),
    "off by pixels": still(1, 3), "far away": still(500, 0), "hidden": still(np.nan, np.nan),
}  # fmt: skip


@pytest.mark.parametrize("name", MOTIONS)
def test_every_latent_is_standard_normal_and_independent_of_all_others(name: str) -> None:
    values = torch.cat([drawn(MOTIONS[name], seed) for seed in range(60)]).double().flatten(1).numpy()
    draws, latents = values.shape
    assert (draws, latents) == (60 * CHANNELS, H * W)
    limit = 4.5 / np.sqrt(draws)  # of each mean and covariance, in standard errors
    assert np.abs(values.mean(0)).max() < limit
    covariance = values.T @ values / draws - np.eye(latents)
    assert np.abs(covariance[~np.eye(latents, dtype=bool)]).max() < limit
    assert np.abs(np.diag(covariance)).max() < limit * np.sqrt(2)
    kurtosis = (values**4).mean() - 3
    assert abs(kurtosis) < 4.5 * np.sqrt(96 / values.size)


@pytest.mark.integration
def test_channels_and_steps_are_independent() -> None:
    values = torch.stack([drawn(turned(), seed, 4).flatten() for seed in range(400)]).double().numpy()
    correlation = np.corrcoef(values.T)
    assert np.abs(correlation - np.eye(len(correlation))).max() < 5.5 / np.sqrt(400)
    noise = WarpedNoise(NoiseKey(0, "series", 0), transport(turned(), CELL))
    one, other = (noise.normal("injected", step, (4096, H, W)) for step in (1, 2))
    assert abs(float((one * other).mean())) < 5 / np.sqrt(one.numel())


def test_without_motion_it_is_the_shared_noise_bit_for_bit() -> None:
    assert torch.equal(drawn(still()), shared())
    assert torch.equal(drawn(still(0.25, -0.25)), shared())


class Tiny:
    """Noise whose latents are far smaller than what the sums of its fine field round to."""

    def normal(self, purpose: str, step: int, shape: tuple[int, ...]) -> torch.Tensor:
        noise = NoiseKey(0, "series", 0).normal(purpose, step, shape)
        return noise * 1e-25 if "fine" not in purpose else noise


def test_whole_latents_are_not_summed_and_rounded() -> None:
    found = WarpedNoise(Tiny(), transport(still(CELL, 0), CELL)).normal("initial", 0, (4, H, W))
    expected = Tiny().normal("initial", 0, (4, H, W))[..., 1:]
    torch.testing.assert_close(without_mean(found[..., :-1]), without_mean(expected), rtol=1e-4, atol=1e-30)


def test_a_shift_by_latents_shifts_the_noise_exactly_where_it_is_known() -> None:
    """But for a constant of each channel, because all frames have one mean."""
    moved = drawn(still(2 * CELL, -CELL))
    torch.testing.assert_close(without_mean(moved[:, 1:, :-2]), without_mean(shared()[:, :-1, 2:]))
    assert not torch.isclose(moved[:, :1], shared()[:, :1]).any()


@pytest.mark.parametrize("name", MOTIONS)
def test_all_frames_have_the_mean_of_the_shared_noise(name: str) -> None:
    found, expected = drawn(MOTIONS[name]).double().mean((1, 2)), shared().double().mean((1, 2))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def without_mean(values: torch.Tensor) -> torch.Tensor:
    return values - values.mean((1, 2), keepdim=True)


def test_what_enters_from_outside_is_carried_too() -> None:
    one, other = drawn(still(CELL, 0)), drawn(still(2 * CELL, 0))
    torch.testing.assert_close(without_mean(one[..., 1:]), without_mean(other[..., :-1]))


def test_a_shift_by_pixels_keeps_the_share_of_the_noise_that_both_frames_have() -> None:
    one, other = (torch.cat([drawn(still(x), seed) for seed in range(40)]).double() for x in (0, 1))
    assert float((one * other).mean()) == pytest.approx(1 - 1 / CELL, abs=5 / np.sqrt(one.numel()))


def test_a_shift_by_pixels_sums_the_fine_field() -> None:
    """Against a loop: a latent that is shifted by one pixel has three columns of one latent and one of the next."""
    noise = NoiseKey(3, "series", 0)
    fine = noise.normal("initial, fine", 0, (1, 6 * CELL, 10 * CELL)).double().numpy()[0]
    around = noise.normal("initial, with border", 0, (1, 6, 10)).double().numpy()[0]
    middle = noise.normal("initial", 0, (1, H, W)).double().numpy()[0]
    around[1:-1, 2:-2] = middle - middle.mean() + float(noise.normal("initial, mean", 0, (1, 1, 1))) / np.sqrt(H * W)
    expected = np.zeros((H, W))
    for i, j in np.ndindex(H, W):
        for y, x in np.ndindex(CELL, CELL):
            a, b = (i + 1) * CELL + y, (j + 2) * CELL + x + 1
            block = fine[a // CELL * CELL :, b // CELL * CELL :][:CELL, :CELL]
            expected[i, j] += fine[a, b] - block.mean() + around[a // CELL, b // CELL] / CELL
    expected += CELL * (middle.mean() - expected.mean() / CELL)
    np.testing.assert_allclose(drawn(still(1), 3, 1)[0].numpy(), expected / CELL, atol=1e-6)


def test_hidden_pixels_have_the_same_noise_in_all_frames() -> None:
    assert torch.equal(drawn(still(np.nan)), drawn(still(500, 500)))
    assert abs(float((drawn(still(np.nan)) * shared()).mean())) < 5 / np.sqrt(shared().numel())


@given(st.floats(-40, 40, width=32), st.floats(-40, 40, width=32), st.floats(0.2, 3), st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_no_value_is_used_twice_and_no_latent_goes_without(right: float, down: float, zoom: float, seed: int) -> None:
    row, column = np.mgrid[: H * CELL, : W * CELL]
    motion = (np.stack([column, row], -1) * (zoom - 1) + (right, down)).astype(np.float32)
    motion[np.random.default_rng(seed).random(motion.shape[:2]) < seed / 10] = np.nan
    way = transport(motion, CELL)
    taken = way.source[way.source >= 0]
    assert len(np.unique(taken)) == len(taken)
    assert taken.size == 0 or taken.max() < np.prod(way.field) * CELL**2
    assert not (way.own & (way.source >= 0)).any()
    used = (way.own | (way.source >= 0)).reshape(H, CELL, W, CELL)
    assert used.any((1, 3)).all()


def test_the_pixel_nearest_to_the_middle_of_another_takes_its_value() -> None:
    motion = still()
    motion[0, 1] = (-1.25, 0.0)
    motion[0, 0] = (0.375, 0.0)
    way = transport(motion, CELL)
    assert way.source[0, 1] == way.source[0, 2] - 2
    assert way.source[0, 0] == -1


def test_it_warps_any_noise_and_draws_the_same_in_any_order() -> None:
    path = NoisePath(NoiseKey(0, "series", 0), NoiseKey(1, "series", 0), 0.5)
    noise = WarpedNoise(path, transport(turned(), CELL))
    first = noise.normal("initial", 0, (4, H, W))
    noise.normal("injected", 1, (4, H, W))
    assert torch.equal(noise.normal("initial", 0, (4, H, W)), first)
    assert first.dtype == torch.float32


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="found 15 x 24 pixels, expected multiples of 4"):
        transport(still(height=15), CELL)
    with pytest.raises(ValueError, match=r"found shape \(4, 4, 7\), expected \(channels, 4, 6\)"):
        WarpedNoise(NoiseKey(0, "series", 0), transport(still(), CELL)).normal("initial", 0, (4, H, 7))
