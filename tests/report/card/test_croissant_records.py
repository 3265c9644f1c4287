"""Croissant record sets: every column described, pictures joined with their own maps."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentgen.report.card.croissant_records import COLUMN_MEANINGS, record_sets
from dentgen.report.card.members import sample_members
from dentgen.report.card.write import write_description
from dentgen.shards.index_reader import read_index
from dentgen.shards.reader import read_samples
from dentgen.shards.sample_rows import SAMPLE_SCHEMA
from tests.report.card.croissant_reader import opened
from tests.report.fake_builds import fake_build, fake_plan, written

pytestmark = pytest.mark.usefixtures("croissant_cache")


def test_every_column_is_described() -> None:
    assert COLUMN_MEANINGS.keys() == set(SAMPLE_SCHEMA.names)
    (samples,) = record_sets([])
    assert [field["name"] for field in samples["field"]] == SAMPLE_SCHEMA.names
    assert all(field["description"] and field["dataType"] for field in samples["field"])


def test_maps_are_joined_one_at_a_time() -> None:
    sets = {node["@id"]: node for node in record_sets(sample_members(fake_plan()))}
    assert list(sets) == [
        "samples", "image", "seg", "fdi", "light", "image-seg", "image-seg-fdi", "image-seg-fdi-light",
    ]  # fmt: skip
    for name in list(sets)[5:]:
        sources = {field["source"]["field"]["@id"].split("/")[0] for field in sets[name]["field"]}
        assert len(sources) == 2, "mlcroissant joins no more"


@pytest.mark.parametrize("image_format", ["png", "webp"])
def test_pictures_are_joined_with_their_own_maps(tmp_path: Path, image_format: str) -> None:
    plan = fake_build(tmp_path, [written(0), written(10)], output={"image_format": image_format})
    write_description(str(tmp_path), plan, read_index(str(tmp_path)))
    joined = "image-seg-fdi-light"
    expected = dict(read_samples(str(tmp_path)))
    found = list(opened(tmp_path).records(joined))
    assert sorted(record[f"{joined}/key"].decode() for record in found) == sorted(expected)
    extensions = {"image": image_format, "seg": "seg.png", "fdi": "fdi.png", "light": "light.png"}
    for record in found:
        members = expected[record[f"{joined}/key"].decode()]
        for name, extension in extensions.items():
            stored = np.asarray(Image.open(io.BytesIO(members[extension])))
            assert np.array_equal(np.asarray(record[f"{joined}/{name}"]), stored), name
