"""Words and names of metadata: bounded, printable, and one spelling for yes, no and unknown."""

from __future__ import annotations

import math
import unicodedata
from typing import Final

from dentgen.records import YES_NO_ATTRIBUTES

_MAX_WORD: Final = 200
#: What tables and spreadsheets write where nothing is known.
_UNKNOWN: Final = frozenset({"", "nan", "null", "n/a", "none", "unknown"})
_YES_NO: Final = {"true": "yes", "1": "yes", "yes": "yes", "false": "no", "0": "no", "no": "no"}


def as_word(value: object) -> str:
    """Numbers and booleans as text, because attributes are words; "" for NaN and anything that is not a scalar.

    Raises:
        ValueError: If a number is infinite or has more digits than a word may have letters.
    """
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            if abs(value) >= 10**_MAX_WORD:
                raise ValueError(f"found a number of over {_MAX_WORD} digits, expected a word")
            return str(value)
        case float() if not math.isfinite(value):
            if math.isinf(value):
                raise ValueError(f"found {value}, expected a finite number")
            return ""
        case float():
            return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:g}"
        case str():
            return value
        case _:
            return ""


def attribute_word(name: str, value: object) -> str:
    """Value of an attribute as it is compared and stored: "" if it is unknown, yes or no where that is the question.

    Args:
        name: Name of the attribute.
        value: Text, number or boolean, as a record's JSON or a spec's ``oversample`` has it.

    Raises:
        ValueError: If it is too long or has control characters.
    """
    word = checked_text(as_word(value).strip(), _MAX_WORD)
    if word.lower() in _UNKNOWN:
        return ""
    return _YES_NO.get(word.lower(), word) if name in YES_NO_ATTRIBUTES else word


def checked_text(text: str, most: int, allowed: str = "") -> str:
    """The text, unless it is longer than ``most`` or has control characters or halves of characters.

    Raises:
        ValueError: If it is or has.
    """
    if len(text) > most:
        raise ValueError(f"found {len(text)} characters, expected at most {most}")
    wrong = next((c for c in text if unicodedata.category(c) in {"Cc", "Cs"} and c not in allowed), "")
    if wrong:
        raise ValueError(f"found the character {wrong!a}, expected text without control characters")
    return text
