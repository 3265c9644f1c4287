"""A table's page, from a study made by hand: hostile names are text, nothing is loaded, pictures are of one set."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from dentgen.evaluation.tables.document import table_document
from dentgen.evaluation.tables.page import write_table_page
from tests.evaluation.tables.handmade import handmade_study


def test_a_hostile_name_is_text(tmp_path: Path) -> None:
    file = tmp_path / "new" / "T9.html"
    write_table_page(handmade_study(), "dentgen compare T9 --set 'sampling.prompt=<i>'", file)
    page = file.read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;") >= 4, "in figures, pictures, cost and settings"
    assert "Which &lt;b&gt; is best?" in page
    assert "sampling.prompt=&lt;i&gt;" in page


def test_the_page_shows_figures_cost_and_pictures_of_the_same_records(tmp_path: Path) -> None:
    study, file = handmade_study(), tmp_path / "T9.html"
    write_table_page(study, "dentgen compare T9", file)
    page = file.read_text()
    assert not re.search(r"(?:src|href)=.(?!data:)", page)
    assert page.count('class="figure best"') == 1
    assert "1,234,567" in page
    strips = re.findall(r'<img src="data:image/png;base64,([^"]+)', page)
    expected = [*(row.pictures for row in study.rows), study.photos]
    for content, pictures in zip(strips, expected, strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
        assert np.array_equal(pixels, np.concatenate(list(pictures[[0, 3, 5, 8]]), 1))


def test_settings_of_a_row_show_no_secrets_of_urls(tmp_path: Path) -> None:
    study, file = handmade_study(), tmp_path / "T9.html"
    secret = replace(study.rows[0].candidate, changes=("model.bundle=s3://me:pass1@bucket/model",))
    study.rows[0] = replace(study.rows[0], candidate=secret)
    write_table_page(study, "dentgen compare T9", file)
    assert "model.bundle=s3://bucket/model" in file.read_text()
    assert table_document(study, "")["rows"][0]["settings"] == ["model.bundle=s3://bucket/model"]
    assert "pass1" not in file.read_text()
