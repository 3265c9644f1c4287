"""Reference sets: rendered once, read in order, split by mouth."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentgen.evaluation.reference_set import TEST_SEED, ReferenceSet, reference_set


def test_halves_share_no_mouth() -> None:
    groups = [*"aaaab", *"bbbcc", *"cdd"]
    nothing = np.zeros((len(groups), 1, 1), np.uint8)
    records = ReferenceSet("", groups, groups, groups, nothing, nothing, nothing, nothing, nothing)
    for split in range(10):
        first, second = records.halves(split)
        assert sorted([*first, *second]) == list(range(len(groups)))
        assert len({groups[n] for n in first}) == len({groups[n] for n in second}) == 2
    assert len({tuple(records.halves(split)[0]) for split in range(10)}) > 1
    assert np.array_equal(records.halves()[0], records.halves(0)[0])


@pytest.mark.slow
def test_a_set_is_rendered_once_and_read_in_shard_order(tmp_path: Path) -> None:
    first = reference_set(str(tmp_path), 2, TEST_SEED, 32, workers=1)
    (shard,) = Path(first.source).glob("*.tar")
    with tarfile.open(shard) as archive:
        names = archive.getnames()
        members = {name: np.asarray(Image.open(io.BytesIO(archive.extractfile(name).read())))  # type: ignore[union-attr]
                   for name in names if name.endswith(".png")}  # fmt: skip
    assert first.keys == list(dict.fromkeys(name.partition(".")[0] for name in names))
    assert first.groups == [f"s{TEST_SEED}-p000000"] * 2
    for number, key in enumerate(first.keys):
        assert np.array_equal(first.photos[number], members[f"{key}.photo.png"])
        assert np.array_equal(first.fdi[number], members[f"{key}.fdi.png"])
        assert np.array_equal(first.light[number], members[f"{key}.light.png"])
        tissue = members[f"{key}.seg.png"]
        assert np.array_equal(first.seg[number] == 1, tissue == 1), "gingiva is gingiva"
    rendered = shard.stat().st_mtime_ns
    again = reference_set(str(tmp_path), 2, TEST_SEED, 32, workers=1)
    assert np.array_equal(again.photos, first.photos)
    assert shard.stat().st_mtime_ns == rendered
