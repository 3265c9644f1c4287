"""Metadata of condition records, as planning and generation read them."""

from __future__ import annotations

import json

import pytest

from dentgen.conditions.metadata import MAX_METADATA_BYTES, read_metadata, split_and_attributes
from dentgen.errors import ConditionError
from dentgen.records import YES_NO_ATTRIBUTES

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
        (b'{"group": true}', "group"),
        (b'{"split": ["train"]}', "split"),
        (b'{"caries": NaN}', ""),
        (b'{"caries": -Infinity}', ""),
        (b'{"caries": ' + b"9" * 400 + b"}", "digits"),
        (b'{"caries": ' + b"9" * 5000 + b"}", ""),
        (b'{"group": 1e400}', ""),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ""),
        (b'{"split": "a", "split": "b"}', "'split' twice"),
        (b'{"x": {"y": 1, "y": 2}}', "'y' twice"),
        (b'{"prompt": "\\ud800"}', ""),
        (b'{"prompt": "a\\u0000b"}', "x00"),
        (b'{"group": "a\\nb"}', "group"),
        (b'{"view": "\\u001b[2J"}', "x1b"),
        (b'{"view": "' + b"x" * 201 + b'"}', "201"),
        (b'{"prompt": "' + b"x" * 900_000 + b'"}', "900000"),
        ('{"split": "train"}'.encode("utf-16"), "UTF-16"),
        ('{"split": "train"}'.encode("utf-16-le"), "UTF-16"),
        (b"null", ""),
        (b"", ""),
        (b'{"prompt": "\xff"}', ""),
        (b'{"x": [' + b"0," * 2**19 + b"0]}", f"{2**20 + 10} bytes"),
    ],
)
def test_unusable_metadata_are_rejected_by_generation_and_kept_by_planning(content: bytes, found: str) -> None:
    with pytest.raises(ConditionError) as caught:
        read_metadata("x.tar: k", content)
    assert caught.value.file == "x.tar: k.json"
    assert found in caught.value.found
    assert caught.value.found
    assert caught.value.expected
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    assert split_and_attributes(content) == (None, "{}")


def test_null_is_missing_and_a_byte_order_mark_is_read() -> None:
    fields = dict.fromkeys(["group", "split", "prompt", "license", "view", "lighting", "mirrored", "look"])
    content = b"\xef\xbb\xbf" + json.dumps({**fields, "light": "soft"}).encode()
    metadata = read_metadata("x.tar: k", content)
    assert (metadata.group, metadata.split, metadata.prompt, metadata.license) == ("", "", "", "")
    assert metadata.attributes == {"lighting": "soft"}
    assert split_and_attributes(content) == ("", '{"lighting": "soft"}')


@pytest.mark.parametrize(
    ("value", "text"), [("17", "17"), ("17.0", "17"), ("123456789", "123456789"), ('"007"', "007"), ("0.5", "0.5")]
)
def test_groups_and_splits_may_be_numbers(value: str, text: str) -> None:
    metadata = read_metadata("k", f'{{"group": {value}, "split": {value}}}'.encode())
    assert (metadata.group, metadata.split) == (text, text)


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
    [
        ("null", ""),
        ("0.3", "0.3"),
        ("2.0", "2"),
        ("3", "3"),
        ("true", "yes"),
        ('["amalgam"]', ""),
        ('"many"', "many"),
        ("1234567", "1234567"),
        ('"NaN"', ""),
        ('"null"', ""),
        ('"n/a"', ""),
        ('"None"', ""),
        ('"unknown"', ""),
        ('" "', ""),
        ('" two "', "two"),
    ],
)
def test_attributes_of_any_type_become_a_word_or_are_dropped(value: str, word: str) -> None:
    metadata = read_metadata("x.tar: k", f'{{"caries": {value}}}'.encode())
    assert metadata.attributes.get("caries", "") == word


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("true", "yes"), ("1", "yes"), ('"True"', "yes"), ('"yes"', "yes"), ('"1"', "yes"), ("1.0", "yes"),
        ("false", "no"), ("0", "no"), ('"NO"', "no"), ('"false"', "no"), ("0.0", "no"), ('"maybe"', "maybe"),
        ("2", "2"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", YES_NO_ATTRIBUTES)
def test_yes_and_no_have_many_spellings(value: str, word: str, name: str) -> None:
    assert read_metadata("k", f'{{"{name}": {value}}}'.encode()).attributes == {name: word}
