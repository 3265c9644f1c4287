"""Pictures brought to the judges' size, and fingerprints that tell copies from other pictures."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dentgen.conditions.decode import decode_record
from dentgen.conditions.prepare import fit_record
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.models.judges import load_judges
from dentgen.phantom.shards import PhantomSet, write_phantoms
from dentgen.quality.labelled_pictures import (
    FINGERPRINT_BITS,
    distinctness,
    fingerprint,
    fingerprint_text,
    in_order,
    judged_shape,
    labelled_figures,
)
from dentgen.records import ConditionRecord

#: All of them need pictures or trainings that take seconds.
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[ConditionRecord]:
    folder = str(tmp_path_factory.mktemp("phantoms"))
    write_phantoms(folder, PhantomSet(6, 9001, 128, 6), 1)
    return [
        decode_record(raw, ("segmentation",), with_photo=True)
        for shard in list_shards(folder)
        for raw in read_records(shard)
    ]


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((128, 128), 128, (128, 128)),
        ((512, 512), 128, (128, 128)),
        ((256, 512), 128, (88, 184)),
        ((8, 8), 64, (64, 64)),
    ],
)
def test_judges_see_the_area_that_they_learnt_at(shape: tuple[int, int], size: int, expected: tuple[int, int]) -> None:
    assert judged_shape(shape, size) == expected


@pytest.mark.slow
def test_judges_see_phantoms_as_labelled_at_any_size(records: list[ConditionRecord]) -> None:
    judges, photos = load_judges("embedded"), [record.photo for record in records if record.photo is not None]
    small = labelled_figures(judges, photos, records)
    larger = [fit_record(record, (256, 256), "pad") for record in records]
    large = labelled_figures(judges, [record.photo for record in larger if record.photo is not None], larger)
    assert np.nanmin(small["miou"]) > 0.8
    assert np.abs(small["miou"] - large["miou"]).max() < 0.05


def test_labels_of_another_mouth_fit_worse(records: list[ConditionRecord]) -> None:
    photos = [record.photo for record in records if record.photo is not None]
    judges = load_judges("embedded")
    own, other = (labelled_figures(judges, photos, maps) for maps in (records, [*records[1:], records[0]]))
    assert (own["miou"] > other["miou"] + 0.05).all()


def test_a_record_without_segmentation_gives_no_agreement(records: list[ConditionRecord]) -> None:
    bare = replace(records[0], conditions={"lighting": records[0].conditions["lighting"]})
    assert records[0].photo is not None
    found = labelled_figures(load_judges("embedded"), [records[0].photo], [bare])
    assert np.isnan(found["miou"]).all()
    assert np.isfinite(found["luminance"]).all()


def test_fingerprints_survive_another_encoding_and_tell_pictures_apart(records: list[ConditionRecord]) -> None:
    photos = [record.photo for record in records if record.photo is not None]
    prints = [fingerprint(photo) for photo in photos]
    assert all(bits.shape == (FINGERPRINT_BITS,) for bits in prints)
    assert all(value > 0.1 for value in [distinctness(bits, prints[:i]) for i, bits in enumerate(prints)][1:])
    for photo, bits in zip(photos, prints, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(photo).save(buffer, "JPEG", quality=90)
        assert distinctness(fingerprint(np.asarray(Image.open(buffer))), [bits]) < 0.05


def test_each_is_compared_with_all_before_it() -> None:
    rng = np.random.default_rng(2)
    one, other = (rng.random(FINGERPRINT_BITS) < 0.5 for _ in range(2))
    first, second, third = in_order([one, other, one]).tolist()
    assert np.isnan(first)
    assert second == np.mean(one != other)
    assert third == 0


def test_text_holds_every_bit() -> None:
    bits = np.random.default_rng(2).random(FINGERPRINT_BITS) < 0.5
    text = fingerprint_text(bits)
    assert [int(digit) for byte in bytes.fromhex(text) for digit in f"{byte:08b}"] == bits.astype(int).tolist()
