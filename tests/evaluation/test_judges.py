"""Judges: what they learn and see, against closed forms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from dentgen.conditions.labels import IGNORE
from dentgen.evaluation.fidelity import colour_fill
from dentgen.evaluation.judges import Detector, judge_features, judge_labels, train_judge
from dentgen.models.judge_networks import DilatedSegmenter, Segmenter
from dentgen.quality.metrics import set_miou

RNG = np.random.default_rng(0)


def noisy_fill(seg: NDArray[np.uint8]) -> NDArray[np.uint8]:
    colours = colour_fill(seg, np.full(seg.shape, 200, np.uint8))
    return np.clip(colours + RNG.normal(0, 8, colours.shape), 0, 255).astype(np.uint8)


def blocks(count: int, edge: int = 32) -> NDArray[np.uint8]:
    return np.kron(RNG.integers(0, 3, (count, edge // 8, edge // 8)), np.ones((8, 8))).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "steps"), [(Segmenter, 60), (DilatedSegmenter, 100)])
def test_a_segmenter_learns_flat_colours(kind: Callable[[], Segmenter | DilatedSegmenter], steps: int) -> None:
    seg = blocks(24)
    images = noisy_fill(seg)
    judge = train_judge(kind, images[:16], seg[:16], steps=steps, seed=0, name="test")
    assert set_miou(judge_labels(judge, images[16:]), seg[16:]) > 0.9
    assert set_miou(judge_labels(kind().eval(), images[16:]), seg[16:]) < 0.6


def test_images_are_judged_one_by_one_whatever_the_batch() -> None:
    """17 images are more than one batch of the judge."""
    images = RNG.integers(0, 256, (17, 32, 32, 3)).astype(np.uint8)
    for judge in (Segmenter().eval(), DilatedSegmenter().eval()):
        labels, features = judge_labels(judge, images), judge_features(judge, images)
        assert labels.shape == images.shape[:3]
        for number in (0, 15, 16):
            alone = images[number : number + 1]
            assert (judge_labels(judge, alone) == labels[[number]]).mean() > 0.999
            assert judge_features(judge, alone) == pytest.approx(features[[number]], abs=1e-4)
    assert judge_labels(Detector().eval(), images).shape == (17,)


@pytest.mark.integration
def test_training_is_decided_by_its_arguments() -> None:
    seg = blocks(4)
    images = noisy_fill(seg)

    def weights(seed: int, name: str, photometric: bool = False) -> torch.Tensor:
        trained = train_judge(Segmenter, images, seg, steps=2, seed=seed, name=name, photometric=photometric)
        return torch.cat([parameter.flatten() for parameter in trained.parameters()])

    assert torch.equal(weights(0, "a"), weights(0, "a"))
    assert not torch.equal(weights(0, "a"), weights(1, "a"))
    assert not torch.equal(weights(0, "a"), weights(0, "b"))
    assert not torch.equal(weights(0, "a"), weights(0, "a", photometric=True))
    assert torch.equal(weights(0, "a", photometric=True), weights(0, "a", photometric=True))


def test_ignored_truth_teaches_nothing() -> None:
    """What an ignored image shows makes no difference to the weights."""
    images = RNG.integers(0, 256, (8, 16, 16, 3)).astype(np.uint8)
    other = images.copy()
    other[4:] = 255 - other[4:]

    def weights(shown: NDArray[np.uint8], label: int) -> torch.Tensor:
        truth = np.array([0, 1, 0, 1] + [label] * 4, np.uint8)
        trained = train_judge(Detector, shown, truth, steps=2, seed=0, name="test")
        return torch.cat([parameter.flatten() for parameter in trained.parameters()])

    assert torch.equal(weights(images, IGNORE), weights(other, IGNORE))
    assert not torch.equal(weights(images, 1), weights(other, 1))


def test_receptive_field_of_the_dilated_segmenter() -> None:
    """Gradients reach 116 pixels, but for the image's mean, which reaches all."""
    judge = DilatedSegmenter()
    judge.context.requires_grad_(False).weight.zero_()
    for block in judge.blocks:
        assert isinstance(block, nn.Sequential)
        block[1] = nn.Identity()
    images = torch.randn(1, 3, 160, 160, requires_grad=True)
    judge(images)[0, :, 80, 80].sum().backward()
    assert images.grad is not None
    rows = torch.nonzero(images.grad.abs().sum((0, 1, 3)))
    assert int(rows.max() - rows.min()) + 1 == 116


def test_sizes_are_those_of_their_descriptions() -> None:
    sizes = {kind: sum(p.numel() for p in kind().parameters()) for kind in (Segmenter, DilatedSegmenter)}
    assert round(sizes[Segmenter] / 1e6, 1) == 0.3
    assert round(sizes[DilatedSegmenter] / 1e6, 2) == 0.07
