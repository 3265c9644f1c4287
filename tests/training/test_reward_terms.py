"""Terms of the reward loss, against other implementations and limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from dentgen.quality.metrics import light_correlation
from dentgen.training.reward_terms import (
    cross_entropy,
    divergence,
    judged_miou,
    lighting_error,
    rectified,
    row_means,
)

LABELS = torch.randint(0, 3, (2, 16, 16), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


def sure_of(labels: torch.Tensor, strength: float = 20.0) -> torch.Tensor:
    """Logits of a judge that is sure to see these labels."""
    classes = torch.where(labels > 2, 0, labels).long()
    return torch.nn.functional.one_hot(classes, 3).permute(0, 3, 1, 2).float() * strength


def test_a_perfect_judgement_has_no_error_and_an_even_one_that_of_chance() -> None:
    assert float(row_means(cross_entropy(sure_of(LABELS), LABELS), LABELS).max()) < 1e-6
    even = row_means(cross_entropy(torch.zeros(2, 3, 16, 16), LABELS), LABELS)
    torch.testing.assert_close(even, torch.full((2,), math.log(3)))


def test_a_shifted_or_shuffled_judgement_has_a_higher_error() -> None:
    right = row_means(cross_entropy(sure_of(LABELS), LABELS), LABELS)
    shifted = row_means(cross_entropy(sure_of(LABELS.roll(2, 2)), LABELS), LABELS)
    shuffled = row_means(cross_entropy(sure_of(LABELS.flip(0)), LABELS), LABELS)
    assert bool((shifted > right + 1).all())
    assert bool((shuffled > right + 1).all())


def test_ignored_pixels_count_neither_as_error_nor_as_pixels() -> None:
    labels = LABELS.clone()
    labels[0, :, 8:] = 255
    logits = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(2)).requires_grad_()
    whole, part = cross_entropy(logits, LABELS), row_means(cross_entropy(logits, labels), labels)
    torch.testing.assert_close(part[0], whole[0, :, :8].mean())
    torch.testing.assert_close(part[1], whole[1].mean())
    part.sum().backward()
    assert logits.grad is not None
    assert not bool(logits.grad[0, :, :, 8:].any())
    nothing = torch.full_like(LABELS, 255)
    assert row_means(cross_entropy(logits, nothing), nothing).tolist() == [0, 0]
    assert judged_miou(logits, nothing).tolist() == [0, 0]


def test_divergence_is_that_of_scipy_and_0_of_equals() -> None:
    one, other = torch.randn(2, 1, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    expected = entropy(one.softmax(1).numpy(), other.softmax(1).numpy(), axis=1)
    np.testing.assert_allclose(divergence(one, other).numpy(), expected, rtol=1e-9)
    assert float(divergence(one, one).abs().max()) == 0


def test_uncertainty_lowers_the_weight_of_an_error_and_is_itself_one() -> None:
    error, doubt = torch.tensor([1.0, 4.0], requires_grad=True), torch.tensor([0.0, 2.0])
    found = rectified(error, doubt)
    assert found.tolist() == pytest.approx([1.0, 4 * math.exp(-2) + 2])
    found.sum().backward()
    assert error.grad is not None
    assert error.grad.tolist() == pytest.approx([1.0, math.exp(-2)])


def test_lighting_error_is_one_minus_the_correlation_that_is_reported() -> None:
    generator = np.random.default_rng(4)
    levels = generator.integers(0, 256, (3, 24, 24, 3), np.uint8)
    light = generator.integers(0, 256, (3, 24, 24), np.uint8)
    light[1] = levels[1, ..., 1]
    inside = generator.random((3, 24, 24)) < 0.3
    pictures = torch.from_numpy(levels).permute(0, 3, 1, 2).float() / 127.5 - 1
    found = lighting_error(pictures, torch.from_numpy(light), torch.from_numpy(inside))
    np.testing.assert_allclose(1 - found.numpy(), light_correlation(levels, light, inside), atol=1e-4)
    assert float(found[1]) < 0.5 < float(found[0])


def test_rows_without_teeth_or_with_even_light_have_no_lighting_error_and_finite_gradients() -> None:
    pictures = torch.zeros(3, 3, 8, 8, requires_grad=True)
    light = torch.full((3, 8, 8), 90, dtype=torch.uint8)
    light[2, 0, 0] = 200
    inside = torch.zeros(3, 8, 8, dtype=torch.bool)
    inside[1:] = True
    found = lighting_error(pictures, light, inside)
    assert found.tolist() == pytest.approx([0.0, 0.0, 1.0])
    found.sum().backward()
    assert pictures.grad is not None
    assert bool(pictures.grad.isfinite().all())


def test_agreement_is_a_value_per_row() -> None:
    assert judged_miou(sure_of(LABELS), LABELS).tolist() == [1, 1]
    mixed = torch.stack([LABELS[0], (LABELS[1] + 1) % 3])
    assert judged_miou(sure_of(mixed), LABELS).tolist() == [1, 0]
