"""Table T1 on three small jaws with the real miniature: every sampler with every decoder, one page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dentgen.errors import SpecError
from dentgen.evaluation.judge_cache import JudgeSettings
from dentgen.evaluation.solvers import SAMPLERS, study_solvers, table_lines
from dentgen.evaluation.solvers_page import write_study_page
from dentgen.spec.yaml_file import read_spec
from tests.conftest import ROOT

FEW = JudgeSettings(records=4, unet_steps=3, dilated_steps=3, detector_steps=1)


@pytest.mark.slow
def test_every_sampler_meets_every_decoder(tmp_path: Path) -> None:
    spec = read_spec(ROOT / "jobs" / "specs" / "demo.yaml", [])
    study = study_solvers(spec, str(tmp_path / "work"), records=3, judges=FEW)
    names = [(row.sampler, row.decoder) for row in study.rows]
    assert names == [(sampler.name, decoder) for sampler in SAMPLERS for decoder in ("KL", "tiny, distilled")]
    rows = dict(zip(names, study.rows, strict=True))
    assert rows["DDIM 50", "KL"].latency == pytest.approx(1)
    for decoder in ("KL", "tiny, distilled"):
        assert rows["UniPC 8", decoder].latency > rows["UniPC 4", decoder].latency
    for row in study.rows:
        assert row.ssim_kl == pytest.approx(1) if row.decoder == "KL" else row.ssim_kl < 1
    assert study.reference.detail == pytest.approx(1)
    lines = table_lines(study)
    assert len(lines) == 1 + len(study.rows) + 1 + len(study.decoder_speed) - 1
    assert study.build_speed["KL"] == 1 < study.build_speed["tiny, distilled"]
    json.dumps(study.figures(), allow_nan=False)
    write_study_page(study, "T1 <of> three", tmp_path / "T1.html")
    page = (tmp_path / "T1.html").read_text()
    assert "T1 &lt;of&gt; three" in page
    assert len(re.findall(r'<img src="data:image/png;base64,', page)) == len(study.rows) + 1
    assert not re.search(r"(?:src|href)=.(?!data:)", page), "the page needs nothing from elsewhere"


def test_a_bundle_without_an_lcm_lora_is_refused(tmp_path: Path) -> None:
    for part in ("tokenizer", "text_encoder", "vae", "unet", "scheduler"):
        (tmp_path / "bundle" / part).mkdir(parents=True)
    spec = read_spec(ROOT / "jobs" / "specs" / "demo.yaml", [f"model.bundle={tmp_path / 'bundle'}"])
    with pytest.raises(SpecError, match="found no loras/lcm"):
        study_solvers(spec, str(tmp_path / "work"), records=3, judges=FEW)
