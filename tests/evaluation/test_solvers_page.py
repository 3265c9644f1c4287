"""Table T1 as text and as a page, from a study made by hand."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentgen.evaluation.solvers import Row, SolverStudy
from dentgen.evaluation.solvers_page import table_lines, write_study_page

RECORDS, EDGE = 9, 8


@pytest.fixture
def study() -> SolverStudy:
    rng = np.random.default_rng(0)
    rows = [Row("UniPC 4", "KL", 0.25, 0.5, 0.91, 0.8, 0.01, 0.02, 0.75, 0.6, 1.0)]
    rows.append(replace(rows[0], decoder="tiny", latency=0.125, ssim_kl=0.9))
    pictures = {
        (row.sampler, row.decoder): rng.integers(0, 256, (RECORDS, EDGE, EDGE, 3)).astype(np.uint8) for row in rows
    }
    return SolverStudy(
        rows=rows,
        decoder_speed={"KL": 1.0, "tiny": 4.0},
        build_speed={"KL": 1.0, "tiny": 6.0},
        reference=replace(rows[0], sampler="reference", decoder="", latency=float("nan"), decoding=float("nan")),
        pictures=pictures,
        photos=rng.integers(0, 256, (RECORDS, EDGE, EDGE, 3)).astype(np.uint8),
        keys=[f"record-{number}" for number in range(RECORDS)],
    )


def test_the_table_has_a_line_per_row_and_decoder(study: SolverStudy) -> None:
    header, first, second, reference, speed = table_lines(study)
    columns = header.split()[2:]
    assert first.split()[2] == "KL"
    assert dict(zip(columns, second.split()[3:], strict=True))["latency"] == "0.125"
    assert dict(zip(columns, reference.split()[1:], strict=True))["miou"] == "0.910"
    assert re.findall(r"\d+\.\d", speed) == ["4.0", "6.0"]


def test_the_page_shows_images_of_spread_records_and_needs_nothing_else(study: SolverStudy, tmp_path: Path) -> None:
    file = tmp_path / "new" / "T1.html"
    write_study_page(study, "T1 <of> nine", file)
    page = file.read_text()
    assert "T1 &lt;of&gt; nine" in page
    assert not re.search(r"(?:src|href)=.(?!data:)", page)
    strips = re.findall(r'<img src="data:image/png;base64,([^"]+)', page)
    shown = [0, 3, 5, 8]
    expected = [*(study.pictures[row.sampler, row.decoder] for row in study.rows), study.photos]
    for strip, images in zip(strips, expected, strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(strip))))
        assert np.array_equal(pixels, np.concatenate(list(images[shown]), 1))
    assert page.count("record-") == len(shown)
