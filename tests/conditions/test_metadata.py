"""Metadata of condition records, as planning and generation read them."""

from __future__ import annotations

import json

import pytest

from dentgen.conditions.metadata import MAX_METADATA_BYTES, read_metadata, split_and_attributes
from dentgen.errors import ConditionError

COMPLETE = {
    "group": "patient 7", "split": "train", "prompt": "upper jaw", "license": "CC0-1.0", "view": "left",
    "light": "harsh", "caries": 2, "mirrored": True, "patient_name": "Doe",
}  # fmt: skip


def test_known_fields_are_read_and_others_ignored() -> None:
    metadata = read_metadata("x.tar: k", json.dumps(COMPLETE).encode())
    assert (metadata.group, metadata.split, metadata.prompt) == ("patient 7", "train", "upper jaw")
    assert metadata.license == "CC0-1.0"
    assert metadata.attributes == {"view": "left", "lighting": "harsh", "caries": "2", "mirrored": "yes"}
    assert "Doe" not in metadata.model_dump_json()


@pytest.mark.parametrize("content", [None, b"{}"])
def test_missing_metadata_are_empty(content: bytes | None) -> None:
    metadata = read_metadata("x.tar: k", content)
    assert (metadata.group, metadata.split, metadata.prompt, metadata.attributes) == ("", "", "", {})


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"{", ""),
        (b"[1]", ""),
        (b'"text"', ""),
        (b'{"prompt": 3}', "prompt"),
        (b'{"split": null}', "split"),
        (b'{"prompt": "\xff"}', ""),
        (b'{"x": [' + b"0," * 2**19 + b"0]}", f"{2**20 + 10} bytes"),
    ],
)
def test_unusable_metadata_are_rejected_by_generation_and_kept_by_planning(content: bytes, found: str) -> None:
    with pytest.raises(ConditionError) as caught:
        read_metadata("x.tar: k", content)
    assert caught.value.file == "x.tar: k.json"
    assert found in caught.value.found
    assert split_and_attributes(content) == (None, "{}")


def test_metadata_may_be_as_large_as_the_limit() -> None:
    content = b'{"split": "a"}'.ljust(MAX_METADATA_BYTES)
    assert split_and_attributes(content) == ("a", "{}")
    with pytest.raises(ConditionError):
        read_metadata("x.tar: k", content + b" ")


def test_planning_reads_split_and_attributes_as_generation_does() -> None:
    content = json.dumps(COMPLETE).encode()
    split, attributes = split_and_attributes(content)
    metadata = read_metadata("x.tar: k", content)
    assert split == metadata.split
    assert json.loads(attributes) == metadata.attributes
    assert list(json.loads(attributes)) == sorted(metadata.attributes), "equal attributes are equal text"
    assert split_and_attributes(None) == ("", "{}")


@pytest.mark.parametrize(
    ("value", "word"),
    [("null", ""), ("0.3", "0.3"), ("2.0", "2"), ("3", "3"), ("true", "yes"), ('["amalgam"]', ""), ('"many"', "many")],
)
def test_attributes_of_any_type_become_a_word_or_are_dropped(value: str, word: str) -> None:
    metadata = read_metadata("x.tar: k", f'{{"caries": {value}}}'.encode())
    assert metadata.attributes.get("caries", "") == word
