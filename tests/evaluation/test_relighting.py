"""The comparison of ways to relight, at toy size on the real miniature with an untrained LoRA."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dentgen.errors import ConditionError
from dentgen.evaluation.relighting import (
    FIGURES,
    Mouth,
    RelightingSettings,
    _edit,
    distinct_mouths,
    measure_relighting,
    relighting_table,
)
from dentgen.models.bundle import find_bundle
from dentgen.models.parts import load_unet
from dentgen.spec.build import BuildSpec
from tests.conftest import JAWS
from tests.curation.pairs.panels import gain, good_panels, panel, phantoms, relit


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The miniature with a LoRA that changes nothing."""
    folder = Path(shutil.copytree(find_bundle("miniature"), tmp_path_factory.mktemp("own") / "bundle"))
    (folder / "loras" / "two-frame").mkdir(parents=True)
    layer = "unet.down_blocks.0.resnets.0.conv1"
    kernel = load_unet(folder / "unet", torch.float32).get_submodule(layer.removeprefix("unet.")).weight
    tensors = {
        f"{layer}.lora_A.weight": torch.ones(1, *kernel.shape[1:]),
        f"{layer}.lora_B.weight": torch.zeros(kernel.shape[0], 1, 1, 1),
    }
    save_file(tensors, folder / "loras" / "two-frame" / "pytorch_lora_weights.safetensors")
    return str(folder)


def settings(bundle: str, count: int = 2) -> RelightingSettings:
    values = {
        "model": {"bundle": bundle}, "conditions": {"size": 128}, "sampling": {"steps": 2},
        "engine": {"slots": 2, "codec_batch": 2},
    }  # fmt: skip
    return RelightingSettings(str(JAWS), BuildSpec.model_validate(values), count=count, seeds=(0,), strengths=(0.5,))


@pytest.mark.slow
def test_every_way_has_every_figure(bundle: str) -> None:
    found = measure_relighting(settings(bundle))
    assert set(found.scores) == {"reference", "shared_noise", "student", "untrained", "img2img_0.5"}
    assert found.scores["student"] == found.scores["untrained"], "a LoRA of zeros"
    identity, _ = found.scores["reference"]["identity"]
    assert identity == pytest.approx(1)
    assert found.scores["reference"]["light_difference"][0] == 0
    assert found.scores["shared_noise"]["light_difference"][0] > 0
    assert found.sheet.shape == (2 * 128, 7 * 128, 3)
    table = relighting_table(found)
    assert len(table) == 2 + len(found.scores)
    assert all(name in table[0] for name in FIGURES)
    assert set(found.figures) == {
        f"{name}_{way}{end}" for way in found.scores for name in FIGURES for end in ("", "_spread")
    }


def test_a_true_edit_keeps_identity_and_follows_the_maps() -> None:
    record, light = phantoms()[0], gain(0.5, 0)
    assert record.photo is not None
    target = panel(record, record.photo, light).record.conditions["lighting"].astype(np.uint8)
    mouth = Mouth(good_panels()[0].record, target)
    edited, unchanged = (_edit(mouth, record.photo, picture) for picture in (relit(record.photo, light), record.photo))
    assert edited["identity"] > 0.95
    assert edited["edit_correlation"] > 0.8
    assert edited["light_difference"] > 0.05
    assert unchanged["light_difference"] == 0
    assert np.isnan(unchanged["edit_correlation"])


def test_mouths_are_one_record_per_group_in_all_views() -> None:
    chosen = list(distinct_mouths(str(JAWS), 4))
    assert len({record.group for record in chosen}) == 4
    assert len({record.attributes["view"] for record in chosen}) == 4
    with pytest.raises(ConditionError) as caught:
        list(distinct_mouths(str(JAWS), 5))
    assert (caught.value.found, caught.value.expected) == ("4 mouths", "5")
