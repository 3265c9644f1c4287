"""Judged pictures: decoded by the bundle, segmented by the judges that ship with dentgen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dentgen.errors import BundleError, SpecError
from dentgen.models.autoencoder import LatentCodec
from dentgen.models.bundle import find_bundle, load_bundle
from dentgen.models.judges import judges_folder, load_judges, write_judge
from dentgen.spec.train import TRAIN_SPEC
from dentgen.training.data.rows import Batch
from dentgen.training.frozen_networks import FrozenAutoencoder, image_tensor
from dentgen.training.judged_reward import JudgedReward
from tests.training.runs import CPU, training_data


def spec_of(source: str, **values: Any) -> Any:
    """A run on the miniature at the size of the records; nothing is written."""
    defaults = {
        "recipe": "reward", "source": {"path": source, "split": None}, "bundle": str(find_bundle("miniature")),
        "checkpoints": "nowhere", "conditions": {"size": 128}, "batch": 4, "lighting_weight": 0.1,
    }  # fmt: skip
    return TRAIN_SPEC.validate_python(defaults | values)


def reward_of(spec: Any) -> JudgedReward:
    return JudgedReward(spec, FrozenAutoencoder(spec, CPU).vae, CPU)


@pytest.fixture(scope="module")
def batch(phantoms: str) -> Batch:
    return training_data(spec_of(phantoms)).batch(0, 0, 4, prefetch=False)


@pytest.fixture(scope="module")
def reward(phantoms: str) -> JudgedReward:
    return reward_of(spec_of(phantoms))


def labels_of(batch: Batch) -> torch.Tensor:
    return torch.from_numpy(batch.seg)


def lighting_of(batch: Batch) -> torch.Tensor:
    return torch.from_numpy(np.stack([row.record.conditions["lighting"] for row in batch.rows]).astype(np.uint8))


def test_reference_pictures_beat_shifted_ones_and_other_records_labels(reward: JudgedReward, batch: Batch) -> None:
    pictures, labels, lighting = image_tensor(batch.photos), labels_of(batch), lighting_of(batch)
    right = reward.terms([pictures], labels, lighting)
    shifted = reward.terms([pictures.roll(8, 3)], labels, lighting)
    shuffled = reward.terms([pictures], labels.roll(1, 0), lighting)
    assert float(right["reward"].max()) < 0.3
    for worse in (shifted, shuffled):
        assert bool((worse["reward"] > right["reward"] + 0.3).all())
        assert float(worse["miou"].mean()) < float(right["miou"].mean()) - 0.2
        assert float(worse["miou_watch"].mean()) < float(right["miou_watch"].mean()) - 0.2
    assert float(shifted["lighting"].mean()) > float(right["lighting"].mean()) + 0.1


def test_the_loss_is_the_weighted_sum(phantoms: str, batch: Batch) -> None:
    pictures = image_tensor(batch.photos)
    found = reward_of(spec_of(phantoms, weight=0.3, lighting_weight=2.0)).terms(
        [pictures], labels_of(batch), lighting_of(batch)
    )
    torch.testing.assert_close(found["loss"], 0.3 * found["reward"] + 2 * found["lighting"])


def test_judgements_are_those_of_the_gate(reward: JudgedReward, batch: Batch) -> None:
    alone = load_judges("embedded").networks
    pictures = image_tensor(batch.photos)
    assert reward._watch is not None
    for name, judge in (("unet", reward._judge), ("dilated", reward._watch)):
        torch.testing.assert_close(judge.logits(pictures), alone[name](pictures))


@pytest.mark.integration
def test_pictures_are_those_of_a_build(phantoms: str, batch: Batch) -> None:
    for decoder in ("kl", "tiny"):
        spec = spec_of(phantoms, reward_decoder=decoder)
        latents = FrozenAutoencoder(spec, CPU).pictures(batch)
        bundle = load_bundle("miniature", decoder=decoder)
        codec = LatentCodec(bundle.vae, 4, decoder=bundle.tiny_decoder if decoder == "tiny" else None)
        expected = image_tensor(np.stack(codec.decode(list(latents))))
        with torch.no_grad():
            found = reward_of(spec).pictures(latents)
        assert float((found - expected).abs().max()) < 0.02, "but for rounding to levels"


@pytest.mark.integration
def test_gradients_reach_latents_and_nothing_else(reward: JudgedReward, batch: Batch) -> None:
    latents = torch.zeros(4, 4, 16, 16, requires_grad=True)
    terms = reward.terms([reward.pictures(latents)], labels_of(batch), lighting_of(batch))
    terms["loss"].sum().backward()
    assert latents.grad is not None
    assert bool(latents.grad.flatten(1).any(1).all())
    assert reward._watch is not None
    for net in (reward._judge.net, reward._watch.net, reward._decoder.net):
        assert not any(parameter.requires_grad for parameter in net.parameters())


def test_two_equal_pictures_leave_no_doubt(phantoms: str, batch: Batch) -> None:
    reward, labels = reward_of(spec_of(phantoms, uncertainty=True, lighting_weight=0.0)), labels_of(batch)
    pictures = image_tensor(batch.photos)
    same, differing = (
        reward.terms([pictures, other], labels, None) for other in (pictures, pictures.roll(3, 3))
    )  # fmt: skip
    assert float(same["uncertainty"].max()) == 0
    torch.testing.assert_close(same["loss"], 0.1 * same["reward"])
    assert bool((differing["uncertainty"] > 0.05).all())
    assert bool((differing["loss"] < 0.1 * (differing["reward"] + differing["uncertainty"])).all())


def test_judges_look_at_the_size_that_they_learnt_at(phantoms: str, reward: JudgedReward, batch: Batch) -> None:
    large = torch.nn.functional.interpolate(image_tensor(batch.photos), scale_factor=2, mode="bilinear")
    logits = reward._judge.logits(large)
    assert logits.shape == (4, 3, 256, 256)
    seen = logits.argmax(1)[:, ::2, ::2]
    assert float((seen == labels_of(batch))[labels_of(batch) != 255].float().mean()) > 0.93


def test_missing_judges_are_refused(phantoms: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError) as missing:
        reward_of(spec_of(phantoms, judges=str(tmp_path / "none")))
    assert missing.value.file == str(tmp_path / "none")
    write_judge(str(tmp_path / "one"), "unet", load_judges(judges_folder("embedded")).networks["unet"], 128)
    with pytest.raises(SpecError) as single:
        reward_of(spec_of(phantoms, judges=str(tmp_path / "one")))
    assert (single.value.key, single.value.expected) == ("watch", "one of ['unet']")
    assert "miou_watch" not in reward_of(spec_of(phantoms, judges=str(tmp_path / "one"), watch=None)).terms(
        [torch.zeros(1, 3, 128, 128)], torch.zeros(1, 128, 128, dtype=torch.uint8), None
    )
