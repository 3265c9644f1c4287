"""What a document starts from: every kind of place, mouths by seed, nothing at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dentgen.conditions.decode import decode_record
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.errors import ConditionError, SpecError, StorageError
from dentgen.spec.build import BuildSpec
from dentgen.studio.openers import Places, empty, list_records, opened, phantom, thumbnail
from tests.conftest import JAWS
from tests.studio.conftest import SPEC

BASE = BuildSpec.model_validate(SPEC)


def test_records_of_a_place_are_those_of_its_readers() -> None:
    expected = [raw.key for shard in list_shards(str(JAWS)) for raw in read_records(shard)]
    listed = list_records(str(JAWS))
    assert [record.key for record in listed] == expected
    assert [record.read().key for record in listed[:12]] == expected[:12], "read alone, each is the right one"


def test_a_folder_of_maps_is_a_place(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    for key in ("b", "a"):
        for extension, content in next(iter(demo_members.values())).items():
            (tmp_path / f"{key}.{extension}").write_bytes(content)
    assert [record.read().key for record in list_records(str(tmp_path))] == ["a", "b"]


def test_an_opened_record_has_the_size_of_the_pictures() -> None:
    small = BuildSpec.model_validate({**SPEC, "conditions": {"size": 64}})
    raw = list_records(str(JAWS))[0].read()
    record = opened(raw, small)
    assert {array.shape[:2] for array in record.conditions.values()} == {(64, 64)}
    assert record.prompt == decode_record(raw, ()).prompt


def test_a_record_without_a_needed_map_is_refused(demo_members: dict[str, dict[str, bytes]]) -> None:
    spec = BuildSpec.model_validate({**SPEC, "conditions": {"size": 64, "use": ["findings"]}})
    with pytest.raises(ConditionError) as caught:
        opened(list_records(str(JAWS))[0].read(), spec)
    assert caught.value.expected == "a member 'lesion.png'"


@pytest.mark.integration
def test_seeds_give_other_mouths_and_always_the_same() -> None:
    small = BuildSpec.model_validate({**SPEC, "conditions": {"size": 64}})
    first, again, other = (phantom(seed, "frontal", small) for seed in (5, 5, 6))
    assert first.key == again.key != other.key
    assert np.array_equal(first.conditions["segmentation"], again.conditions["segmentation"])
    assert not np.array_equal(first.conditions["segmentation"], other.conditions["segmentation"])


def test_an_empty_canvas_has_the_maps_that_are_used() -> None:
    spec = BuildSpec.model_validate({**SPEC, "conditions": {"use": ["depth"], "size": [64, 96]}})
    record = empty(spec)
    assert record.conditions.keys() == {"depth", "lighting", "segmentation"}
    assert record.shape == (64, 96)
    assert record.conditions["depth"].dtype == np.uint16
    assert not any(array.any() for array in record.conditions.values())


def test_thumbnails_show_the_maps() -> None:
    small = thumbnail(list_records(str(JAWS))[0].read())
    assert small.shape == (96, 96, 3)
    assert small.std() > 20


def test_places_are_named_by_numbers() -> None:
    places = Places()
    first = places.add(str(JAWS))
    assert places.add(str(JAWS)) == places.add("") == first == 0, "listed again, not twice"
    assert places.name(0) == str(JAWS)
    assert places.record(0, 1).key == places.keys(0)[1]
    for wrong, key, found in (((1, 0), "place", 1), ((0, 10**6), "record", 10**6)):
        with pytest.raises(SpecError) as caught:
            places.record(*wrong)
        assert (caught.value.key, caught.value.found) == (key, found)


def test_nothing_names_no_place() -> None:
    """Not the current folder, which may be anything."""
    with pytest.raises(SpecError) as caught:
        Places().add("")
    assert caught.value.key == "place"


def test_a_place_without_records_is_an_error(tmp_path: Path) -> None:
    with pytest.raises((ConditionError, StorageError)):
        list_records(str(tmp_path))
