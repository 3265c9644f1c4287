"""The contact sheet: conditions and pictures of the first records, pixel by pixel."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dentgen.conditions.labels import colour_segmentation
from dentgen.errors import StorageError
from dentgen.records import COMPOSITE_MEDIA
from dentgen.report.contact_sheet import write_contact_sheet
from dentgen.report.html.pictures import decode_picture
from dentgen.shards.reader import read_samples
from tests.report.fake_builds import fake_build, rejected, written

EDGE, MARGIN = 16, 4
STEP = EDGE + MARGIN


def drawn(out: Path) -> NDArray[np.uint8]:
    url = write_contact_sheet(str(out))
    assert url == f"{out}/contact_sheet.png"
    return np.asarray(Image.open(url))


def tile(sheet: NDArray[np.uint8], row: int, column: int) -> NDArray[np.uint8]:
    top, left = MARGIN + row * STEP, MARGIN + column * STEP
    return sheet[top : top + EDGE, left : left + EDGE]


def test_row_holds_conditions_then_variants(tmp_path: Path) -> None:
    fake_build(tmp_path, [[*written(0), *written(1)]])
    sheet = drawn(tmp_path)
    assert sheet.shape == (2 * STEP + MARGIN, 4 * STEP + MARGIN, 3)
    samples = [
        {name: np.asarray(Image.open(io.BytesIO(content))) for name, content in members.items() if name != "json"}
        for _, members in read_samples(str(tmp_path))
    ]
    for row, (first, second) in enumerate((samples[:2], samples[2:])):
        assert (tile(sheet, row, 0) == colour_segmentation(first["seg.png"])).all()
        assert (tile(sheet, row, 1) == first["light.png"][..., None]).all()
        assert (tile(sheet, row, 2) == first["png"]).all()
        assert (tile(sheet, row, 3) == second["png"]).all()


def test_only_the_first_records_and_variants_are_drawn(tmp_path: Path) -> None:
    fake_build(tmp_path, [[sample for n in range(20) for sample in written(n, variants=9)]])
    sheet = drawn(tmp_path)
    assert sheet.shape[:2] == (8 * STEP + MARGIN, 2 * (8 * STEP + MARGIN)), "16 records, two per row"
    samples = {key: decode_picture(members) for key, members in read_samples(str(tmp_path))}
    for row, key in enumerate(("jaw-001-v005", "jaw-003-v005", "jaw-005-v005")):
        right = sheet[:, 8 * STEP + MARGIN :]
        assert (tile(right, row, 2 + 5) == samples[key]).all(), key


def test_sheet_declares_its_digital_source_type(tmp_path: Path) -> None:
    fake_build(tmp_path, [written(0)])
    write_contact_sheet(str(tmp_path))
    assert COMPOSITE_MEDIA.encode() in (tmp_path / "contact_sheet.png").read_bytes()


def test_build_without_samples_has_a_blank_sheet(tmp_path: Path) -> None:
    fake_build(tmp_path, [rejected(0, "no map")])
    assert (drawn(tmp_path) == 255).all()


def test_build_that_is_not_sealed_has_no_sheet(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        write_contact_sheet(str(tmp_path))
