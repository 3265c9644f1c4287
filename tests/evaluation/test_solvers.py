"""Table T1: which specs it runs, how a row is computed, and the whole study on three small jaws."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from dentgen.errors import SpecError
from dentgen.evaluation.judge_settings import JudgeSettings
from dentgen.evaluation.judges import judge_labels
from dentgen.evaluation.solver_timing import Timing
from dentgen.evaluation.solvers import (
    KL,
    LCM_LORA,
    SAMPLERS,
    Decoding,
    Sampler,
    available_decodings,
    compare_solvers,
    measured_row,
    solver_spec,
)
from dentgen.models.judge_networks import Segmenter
from dentgen.quality.metrics import set_miou
from dentgen.shards.plan_file import read_plan
from tests.evaluation.small_evaluation import demo_reference, small_build_spec

FEW = JudgeSettings(records=4, unet_steps=3, dilated_steps=3, detector_steps=1)
RNG = np.random.default_rng(0)


def bundle_of(folder: Path, *extra: str) -> str:
    """Empty folders in a bundle's layout."""
    for part in ("tokenizer", "text_encoder", "vae", "unet", "scheduler", *extra):
        (folder / part).mkdir(parents=True)
    return str(folder)


def test_a_bundle_without_an_lcm_lora_is_rejected(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "bundle")
    with pytest.raises(SpecError) as caught:
        compare_solvers(small_build_spec(f"model.bundle={bundle}"), str(tmp_path / "work"), records=3, judges=FEW)
    assert caught.value.key == "model.bundle"
    assert bundle in caught.value.found


def test_decoders_are_those_that_the_bundles_have(tmp_path: Path) -> None:
    plain, tiny = bundle_of(tmp_path / "plain"), bundle_of(tmp_path / "tiny", "tiny_decoder")
    assert available_decodings(plain, None) == [Decoding("KL", plain, "kl")]
    assert available_decodings(tiny, plain) == [
        Decoding("KL", tiny, "kl"),
        Decoding("tiny, plain", plain, "tiny"),
        Decoding("tiny, distilled", tiny, "tiny"),
    ]


def test_a_sampler_adds_its_lora_and_keeps_the_rest() -> None:
    spec = small_build_spec("model.loras={other: 0.5}", "sampling.seed=9")
    lcm = solver_spec(spec, Sampler("LCM 4", "lcm", 4, (LCM_LORA,)), Decoding("tiny", "elsewhere", "tiny"))
    assert lcm.model.loras == {"other": 0.5, LCM_LORA: 1.0}
    assert (lcm.model.bundle, lcm.model.decoder) == ("elsewhere", "tiny")
    assert (lcm.sampling.scheduler, lcm.sampling.steps, lcm.sampling.seed) == ("lcm", 4, 9)
    plain = solver_spec(spec, Sampler("DDIM 20", "ddim", 20), Decoding("KL", "miniature", "kl"))
    assert plain.model.loras == {"other": 0.5}


def test_a_row_compares_with_reference_and_kl_images(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    test = demo_reference(tmp_path / "demo", demo_members, 2)
    grey = np.repeat(test.photos.mean(-1, keepdims=True), 3, -1).astype(np.uint8)
    flat = np.full_like(test.photos, 128)
    judge = Segmenter().eval()
    timing = Timing(tick=1.0, decode={KL: 10.0, "tiny": 2.0}, batch={})
    row = measured_row(Sampler("UniPC 8", "unipc", 8), "tiny", grey, flat, test, judge, timing)
    assert (row.sampler, row.decoder) == ("UniPC 8", "tiny")
    assert row.latency == pytest.approx((8 + 2) / (50 + 10))
    assert row.decoding == pytest.approx(2 / (8 + 2))
    assert row.miou == pytest.approx(set_miou(judge_labels(judge, grey), test.seg))
    assert row.ssim > 0.9, "grey images are their photos without colour"
    assert row.ssim_kl < 0.5
    assert row.detail == pytest.approx(1, abs=0.2)
    assert measured_row(SAMPLERS[0], KL, flat, grey, test, judge, timing).detail < 1e-6


@pytest.mark.slow
def test_every_sampler_meets_every_decoder(tmp_path: Path) -> None:
    study = compare_solvers(small_build_spec(), str(tmp_path / "work"), records=3, judges=FEW)
    names = [(row.sampler, row.decoder) for row in study.rows]
    assert names == [(sampler.name, decoder) for sampler in SAMPLERS for decoder in ("KL", "tiny, distilled")]
    assert study.pictures.keys() == set(names)
    for (one, first), (other, second) in combinations(study.pictures.items(), 2):
        assert not np.array_equal(first, second), f"{one} and {other} are the same images"
    specs = [read_plan(str(out)).spec for out in (tmp_path / "work" / "builds").iterdir()]
    ran = {(s.sampling.scheduler, s.sampling.steps, tuple(s.model.loras), s.model.decoder) for s in specs}
    assert ran == {(s.scheduler, s.steps, s.loras, decoder) for s in SAMPLERS for decoder in ("kl", "tiny")}
    figures = json.loads(json.dumps(study.figures(), allow_nan=False))
    assert figures["records"] == 3
    assert figures["rows"][-1]["sampler"] == "reference"
    assert figures["rows"][-1]["latency"] is None
