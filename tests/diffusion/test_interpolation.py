"""Interpolation of embeddings and noise against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dentgen.diffusion.interpolation import NoisePath, lerp, share_of, slerp, slerp_whole
from dentgen.seeding import NoiseKey

SHARES = st.floats(0, 1)
SEEDS = st.integers(0, 10_000)


def embeddings(seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Three tokens of different norms and directions."""
    lengths = torch.tensor([[0.1], [1.0], [30.0]])
    return (torch.randn(3, 16, generator=torch.Generator().manual_seed(seed)) * lengths).to(dtype)


@given(SEEDS, st.sampled_from([torch.float64, torch.float32, torch.bfloat16]))
def test_both_ends_are_exact(seed: int, dtype: torch.dtype) -> None:
    a, b = embeddings(seed, dtype), embeddings(seed + 1, dtype)
    for interpolate in (lerp, slerp, slerp_whole):
        assert torch.equal(interpolate(a, b, 0.0), a)
        assert torch.equal(interpolate(a, b, 1.0), b)
        assert interpolate(a, b, 0.3).dtype == dtype


@given(SEEDS, SHARES)
def test_lerp_equals_its_formula(seed: int, share: float) -> None:
    a, b = embeddings(seed), embeddings(seed + 1)
    expected = (1 - share) * a.numpy().astype(np.float64) + share * b.numpy().astype(np.float64)
    np.testing.assert_allclose(lerp(a, b, share).numpy(), expected, rtol=1e-6, atol=1e-6)


@given(SEEDS, SHARES)
def test_slerp_of_unit_vectors_divides_their_angle(seed: int, share: float) -> None:
    a, b = (torch.nn.functional.normalize(embeddings(n).double(), dim=-1) for n in (seed, seed + 1))
    found = slerp(a, b, share)
    angle = (a * b).sum(-1).acos()
    np.testing.assert_allclose(found.norm(dim=-1), 1, atol=1e-9)
    np.testing.assert_allclose((a * found).sum(-1), (share * angle).cos(), atol=1e-9)
    np.testing.assert_allclose((b * found).sum(-1), ((1 - share) * angle).cos(), atol=1e-9)


@given(SEEDS, SHARES)
def test_slerp_is_symmetric(seed: int, share: float) -> None:
    a, b = embeddings(seed), embeddings(seed + 1)
    torch.testing.assert_close(slerp(a, b, share), slerp(b, a, 1 - share), rtol=1e-5, atol=1e-5)


@given(SEEDS, SHARES)
def test_slerp_is_per_token_and_slerp_whole_is_not(seed: int, share: float) -> None:
    a, b = embeddings(seed), embeddings(seed + 1)
    alone = torch.stack([slerp(one, other, share) for one, other in zip(a, b, strict=True)])
    torch.testing.assert_close(slerp(a, b, share), alone)
    whole = slerp_whole(a, b, share)
    torch.testing.assert_close(whole.reshape(-1), slerp(a.reshape(-1), b.reshape(-1), share))
    if 0.2 < share < 0.8:
        assert not torch.allclose(whole, alone)


@given(SEEDS, SHARES, st.sampled_from([0.0, 1.0, 1 + 1e-7, 2.0, -1.0]))
def test_slerp_falls_back_to_lerp_where_it_is_undefined(seed: int, share: float, factor: float) -> None:
    """Tokens that are zero, parallel or opposite, next to one that is not."""
    a, other = embeddings(seed), embeddings(seed + 1)
    b = torch.cat([a[:2] * factor, other[2:]])
    found = slerp(a, b, share)
    torch.testing.assert_close(found[:2], lerp(a, b, share)[:2])
    torch.testing.assert_close(found[2], slerp(a[2], other[2], share))


@given(SEEDS, SHARES)
def test_slerp_and_lerp_agree_at_the_fallback_threshold(seed: int, share: float) -> None:
    a = embeddings(seed)
    for turn in (0.9e-4, 1.1e-4):  # on either side of the threshold
        b = a + turn * a.norm(dim=-1, keepdim=True) * torch.nn.functional.normalize(embeddings(seed + 1), dim=-1)
        torch.testing.assert_close(slerp(a, b, share), lerp(a, b, share), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_interpolated_noise_is_standard_normal(share: float) -> None:
    shape, ends = (4, 32, 32), (NoiseKey(0, "a", 0), NoiseKey(0, "b", 0))
    drawn = torch.stack([NoisePath(*ends, share).normal("injected", step, shape) for step in range(50)])
    assert drawn.dtype == torch.float32
    assert abs(float(drawn.mean())) < 0.01
    assert abs(float(drawn.var()) - 1) < 0.02
    assert abs(float(drawn.pow(4).mean()) - 3) < 0.15
    norms = drawn.flatten(1).norm(dim=1) / math.sqrt(4 * 32 * 32)
    assert float((norms - 1).abs().max()) < 0.06


def test_a_noise_path_equals_its_keys_at_both_ends() -> None:
    start, end, draw = NoiseKey(0, "a", 0), NoiseKey(0, "b", 3), ("initial", 0, (4, 8, 8))
    assert torch.equal(NoisePath(start, end, 0.0).normal(*draw), start.normal(*draw))
    assert torch.equal(NoisePath(start, end, 1.0).normal(*draw), end.normal(*draw))
    assert torch.equal(NoisePath(start, start, 0.4).normal(*draw), start.normal(*draw))
    halfway = NoisePath(start, end, 0.5)
    assert torch.equal(halfway.normal(*draw), NoisePath(start, end, 0.5).normal(*draw))
    for name in (("injected", 0), ("injected", 7)):
        drawn = halfway.normal(*name, (4, 8, 8))
        assert torch.equal(drawn, slerp_whole(start.normal(*name, (4, 8, 8)), end.normal(*name, (4, 8, 8)), 0.5))
    assert hash(halfway) == hash(NoisePath(start, end, 0.5))


@given(st.integers(1, 1000))
def test_shares_are_evenly_spaced_from_zero_to_one(variants: int) -> None:
    shares = [share_of(variant, variants) for variant in range(variants)]
    assert shares[0] == 0
    assert shares[-1] == (1 if variants > 1 else 0)
    np.testing.assert_allclose(np.diff(shares), 1 / max(1, variants - 1))


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_shares_outside_the_unit_interval_are_an_error(share: float) -> None:
    for interpolate in (lerp, slerp, slerp_whole):
        with pytest.raises(ValueError, match=f"{share}"):
            interpolate(embeddings(0), embeddings(1), share)
