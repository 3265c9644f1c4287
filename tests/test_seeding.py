"""Random streams are pure functions of their names."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dentgen.seeding import NoiseKey, derive_seed, fresh_weights, numpy_generator


def test_seeds_distinguish_types_and_boundaries_of_parts() -> None:
    assert derive_seed("ab", "c") != derive_seed("a", "bc")
    assert derive_seed("1") != derive_seed(1)


def test_seeds_are_the_first_63_bits_of_a_hash() -> None:
    digest = hashlib.sha256(b"str:1:x" + b"int:2:12").digest()
    assert derive_seed("x", 12) == int.from_bytes(digest, "big") >> (256 - 63)


def test_known_seeds_do_not_change() -> None:
    """Another derivation would silently change every dataset."""
    assert derive_seed(0, "a", 1) == 6416202997073261689
    assert int(numpy_generator("x").integers(1000)) == 377


@settings(deadline=None)
@given(st.integers(), st.text(), st.integers(0, 99))
def test_noise_depends_on_its_name_alone(seed: int, key: str, variant: int) -> None:
    noise = NoiseKey(seed, key, variant)
    first = noise.normal("initial", 0, (4, 4))
    torch.rand(3)  # draws from the global generator in between
    assert torch.equal(first, NoiseKey(seed, key, variant).normal("initial", 0, (4, 4)))
    assert not torch.equal(first, NoiseKey(seed, key, variant + 1).normal("initial", 0, (4, 4)))
    assert not torch.equal(first, noise.normal("injected", 0, (4, 4)))
    assert not torch.equal(first, noise.normal("initial", 1, (4, 4)))


def test_noise_is_standard_normal_and_independent_between_keys() -> None:
    drawn = torch.stack([NoiseKey(0, f"record {n}", 0).normal("initial", 0, (4, 16, 16)) for n in range(200)])
    assert drawn.dtype == torch.float32
    assert stats.kstest(drawn.flatten().numpy(), "norm").pvalue > 0.001
    across = np.corrcoef(drawn.flatten(1).numpy())[np.triu_indices(200, 1)]
    assert np.abs(across).max() < 6 / np.sqrt(drawn[0].numel())


def test_weights_are_initialised_by_name_and_the_global_generator_is_restored() -> None:
    before = torch.random.get_rng_state()
    layers = []
    for name in ("a", "a", "b"):
        with fresh_weights(name):
            layers.append(torch.nn.Linear(3, 3).weight)
    assert torch.equal(layers[0], layers[1])
    assert not torch.equal(layers[0], layers[2])
    with pytest.raises(ZeroDivisionError), fresh_weights("c"):
        torch.rand(1 // 0)
    assert torch.equal(torch.random.get_rng_state(), before)
