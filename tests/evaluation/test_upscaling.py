"""The comparison of ways to double pictures, at toy size on the real miniature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentgen.errors import ConditionError
from dentgen.evaluation.judge_settings import JudgeSettings
from dentgen.evaluation.upscaling import (
    UpscalingSettings,
    _other,
    img2img_spec,
    measure_upscaling,
    upscaling_table,
)
from dentgen.spec.build import BuildSpec


def spec() -> BuildSpec:
    values = {"conditions": {"size": 64}, "sampling": {"steps": 2}, "engine": {"slots": 9, "codec_batch": 1}}
    return BuildSpec.model_validate(values)


def test_image_to_image_runs_in_windows_of_the_small_size() -> None:
    found = img2img_spec(spec(), 0.3)
    assert (found.conditions.size, found.sampling.window, found.sampling.start_from) == (128, 64, "photo")
    assert (found.sampling.strength, found.max_windows) == (0.3, 9)


def test_other_tools_pictures_must_have_the_full_size(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), (9, 8, 7)).save(tmp_path / "k.png")
    assert (_other(tmp_path / "k.png", 32) == (9, 8, 7)).all()
    for name, edge in (("k.png", 64), ("missing.png", 32)):
        with pytest.raises(ConditionError) as caught:
            _other(tmp_path / name, edge)
        assert caught.value.file == str(tmp_path / name)


@pytest.mark.slow
def test_every_way_is_scored(tmp_path: Path) -> None:
    settings = UpscalingSettings(str(tmp_path), spec(), strengths=(0.5,), records=2, judges=JudgeSettings(2, 1, 1))
    found = measure_upscaling(settings)
    assert list(found.scores) == ["lanczos", "img2img 0.5", "truth"]
    assert found.scores["truth"]["ssim"].mean == pytest.approx(1)
    assert found.scores["lanczos"]["ssim"].mean < 1
    assert found.figures["lanczos_psnr_count"] == 2
    assert len(upscaling_table(found)) == 5
    assert len(list(Path(found.small).glob("*.png"))) == 2
    assert np.asarray(Image.open(found.sheet)).shape == (3 * 64, 4 * 64, 3)
