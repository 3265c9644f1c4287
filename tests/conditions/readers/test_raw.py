"""Member names, printable text and the types that readers share."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dentgen.conditions.readers.raw import ConditionShard, ShardIndex, bounded_key, printable, short, split_member


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("c.seg.png", ("c", "seg.png")),
        ("a.b/c.seg.png", ("a.b/c", "seg.png")),
        ("./c.SEG.PNG", ("c", "seg.png")),
        ("../../c.seg.png", ("../../c", "seg.png")),
        ("two\nlines.json", ("two\nlines", "json")),
        ("no-extension", ("no-extension", "")),
        ("a/._c.seg.png", None),
        (".hidden", None),
        ("a/.hidden/c.seg.png", None),
        ("a/__MacOSX/c.seg.png", None),
        ("c.seg.png~", None),
        ("#c.seg.png#", None),
        ("a/THUMBS.DB", None),
        ("old~/c.seg.png", ("old~/c", "seg.png")),
        ("a/../c.seg.png", ("a/../c", "seg.png")),
    ],
)
def test_keys_end_at_the_first_dot_of_the_last_segment(name: str, parts: tuple[str, str] | None) -> None:
    assert split_member(name) == parts


@given(st.text(st.characters(exclude_characters="./\\"), min_size=1), st.sampled_from(["seg.png", "json"]))
def test_split_names_can_be_joined_again(key: str, extension: str) -> None:
    assert split_member(f"folder/{key}.{extension}") == (f"folder/{key}", extension)


def test_control_characters_and_surrogates_are_escaped() -> None:
    assert printable("Zahn 11/ä") == "Zahn 11/ä"
    assert printable("a\x1b[2Jb\udcff") == "a\\x1b[2Jb\\udcff"


@given(st.text(st.characters(), max_size=300))
def test_printable_text_fits_every_encoding(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(text).encode().decode() == printable(text)
    assert json.loads(json.dumps(printable(text))) == printable(text)
    assert len(short(text)) <= 200


def test_long_names_are_shortened() -> None:
    assert short("k" * 100_000) == "k" * 200
    assert len(short("\x00" * 100_000)) == 200


def test_long_keys_are_cut_and_stay_different() -> None:
    (one, member), (other, _) = (split_member("k" * 10**6 + f"{n}.seg.png") or ("", "") for n in (1, 2))
    assert member == "seg.png"
    assert one != other
    assert len(one) < 2000
    assert bounded_key("k" * 1000) == "k" * 1000


def test_index_separates_splits_and_attributes() -> None:
    index = ShardIndex.of(["a", "b"], [("train", "{}"), (None, '{"view": "left"}')], [0, 512, 1024])
    assert index.keys == ("a", "b")
    assert index.splits == ("train", None)
    assert index.attributes == ("{}", '{"view": "left"}')
    assert index.offsets == (0, 512, 1024)
    without = ShardIndex.of(["a"], None)
    assert (without.splits, without.attributes) == (None, None)


def test_place_of_a_shard_has_no_credentials() -> None:
    shard = ConditionShard("x.tar", "https://user:secret@host/x.tar?token=secret", "tar", 1, "")
    assert "secret" not in shard.place
    assert "host/x.tar" in shard.place
