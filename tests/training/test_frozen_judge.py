"""A frozen judge in training: what the gate's judges see, gradients to pictures alone, names that there are not."""

from __future__ import annotations

import pytest
import torch

from dentgen.errors import SpecError
from dentgen.models.judges import load_judges
from dentgen.spec.train_reward import JudgeName
from dentgen.training.frozen_judge import FrozenJudge


def judge_of(name: JudgeName) -> FrozenJudge:
    return FrozenJudge(load_judges("embedded"), "embedded", "judge", name)


def test_it_sees_what_the_gates_judge_sees() -> None:
    pictures, known = torch.rand(2, 3, 128, 128) * 2 - 1, load_judges("embedded").networks
    for name in ("unet", "dilated"):
        logits = known[name](pictures)
        assert torch.equal(judge_of(name).logits(pictures), logits)
        assert torch.equal(judge_of(name).labels(pictures), logits.argmax(1))


def test_gradients_reach_the_pictures_and_no_weight() -> None:
    judge, pictures = judge_of("unet"), torch.zeros(1, 3, 64, 64, requires_grad=True)
    judge.logits(pictures).square().sum().backward()
    assert pictures.grad is not None
    assert bool(pictures.grad.any())
    assert not any(parameter.requires_grad for parameter in judge.net.parameters())


def test_an_unknown_judge_is_refused_by_key() -> None:
    judges = load_judges("embedded")
    alone = type(judges)({"unet": judges.networks["unet"]}, judges.size, judges.digest, judges.device)
    with pytest.raises(SpecError) as caught:
        FrozenJudge(alone, "own/", "watch", "dilated")
    assert (caught.value.key, caught.value.found, caught.value.expected) == (
        "watch",
        "no dilated in own/",
        "one of ['unet']",
    )
