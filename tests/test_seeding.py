"""Randomness is named: same name, same numbers; another name, other numbers."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from dentgen.seeding import NoiseKey, derive_seed, numpy_generator


def test_parts_are_not_run_together() -> None:
    assert derive_seed("ab", "c") != derive_seed("a", "bc")
    assert derive_seed("1") != derive_seed(1)


@given(st.integers(), st.text(), st.integers(0, 99))
def test_noise_depends_on_its_name_alone(seed: int, key: str, variant: int) -> None:
    noise = NoiseKey(seed, key, variant)
    first = noise.normal("initial", 0, (4, 4))
    torch.rand(3)  # whatever else is drawn in between
    assert torch.equal(first, NoiseKey(seed, key, variant).normal("initial", 0, (4, 4)))
    assert not torch.equal(first, NoiseKey(seed, key, variant + 1).normal("initial", 0, (4, 4)))
    assert not torch.equal(first, noise.normal("injected", 0, (4, 4)))


def test_noise_is_standard_normal() -> None:
    drawn = torch.stack([NoiseKey(0, f"record {n}", 0).normal("initial", 0, (4, 16, 16)) for n in range(200)])
    assert abs(float(drawn.mean())) < 0.01
    assert abs(float(drawn.std()) - 1) < 0.01
    across = np.corrcoef(drawn[0].reshape(-1), drawn[1].reshape(-1))[0, 1]
    assert abs(across) < 0.15


def test_known_values_stay_as_they_are() -> None:
    """Changing the derivation would silently change every dataset."""
    assert derive_seed(0, "a", 1) == 6416202997073261689
    assert int(numpy_generator("x").integers(1000)) == 377
