"""Words and names of metadata, whatever their writers take for text."""

from __future__ import annotations

import pytest

from dentgen.words import as_word, attribute_word, checked_text

WORDS = [
    (True, "yes"), (False, "no"), (7, "7"), (10**20, str(10**20)), (0.5, "0.5"), (3.0, "3"), (float("nan"), ""),
    ("smile", "smile"), (None, ""), ([1], ""),
]  # fmt: skip


@pytest.mark.parametrize(("value", "word"), WORDS)
def test_scalars_are_words(value: object, word: str) -> None:
    assert as_word(value) == word


@pytest.mark.parametrize("value", [10**400, float("inf"), -float("inf")])
def test_numbers_that_are_no_words_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="found"):
        as_word(value)


@pytest.mark.parametrize("value", ["", " ", "NaN", "null", "N/A", "None", "unknown", None, float("nan")])
def test_what_means_unknown_is_empty(value: object) -> None:
    assert attribute_word("lighting", value) == ""


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [("braces", "TRUE", "yes"), ("braces", 0, "no"), ("caries", "2", "2"), ("lighting", 1, "1"), ("view", "On", "On")],
)
def test_yes_and_no_are_spelt_one_way_where_they_are_asked_for(name: str, value: object, word: str) -> None:
    assert attribute_word(name, value) == word


@pytest.mark.parametrize("text", ["a" * 11, "bell\x07", "half\ud800"])
def test_text_that_is_too_long_or_not_printable_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="found"):
        checked_text(text, 10)
    assert checked_text("a\tb", 10, "\t") == "a\tb"
