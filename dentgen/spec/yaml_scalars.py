"""Plain scalars of YAML whose meaning depends on the reader, such as 010, 1:30 and yes: never numbers without a word.

YAML 1.1 takes ``010`` for 8, ``1:30`` for 90 and ``yes`` for true; YAML 1.2 takes them for 10 and two texts. Here all
are texts, and where a number is wanted they are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.nodes import ScalarNode

_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9]*(_[0-9]+)*)|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(
    r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)


class AmbiguousText(str):
    """A plain scalar that some readers of YAML take for a number or boolean."""

    __slots__ = ()


class _Constructor(SafeConstructor):
    """Numbers and booleans of YAML 1.2's core schema; dates stay text."""

    def construct_int(self, node: ScalarNode) -> int | str:
        text = str(node.value)
        return int(self.construct_yaml_int(node)) if _INT.fullmatch(text) else AmbiguousText(text)

    def construct_float(self, node: ScalarNode) -> float | str:
        text = str(node.value)
        return float(self.construct_yaml_float(node)) if _FLOAT.fullmatch(text) else AmbiguousText(text)

    def construct_bool(self, node: ScalarNode) -> bool | str:
        text = str(node.value)
        return text.lower() == "true" if text.lower() in {"true", "false"} else AmbiguousText(text)

    def construct_text(self, node: ScalarNode) -> str:
        return AmbiguousText(node.value)


for _kind, _construct in (
    ("int", _Constructor.construct_int),
    ("float", _Constructor.construct_float),
    ("bool", _Constructor.construct_bool),
    ("timestamp", _Constructor.construct_text),
):
    _Constructor.add_constructor(f"tag:yaml.org,2002:{_kind}", _construct)


def yaml_reader() -> YAML:
    """A reader of plain values, without tags that construct objects."""
    reader = YAML(typ="safe", pure=True)
    reader.Constructor = _Constructor
    return reader


def misread_scalars(values: Any, validated: Any, key: str = "") -> Iterator[tuple[str, str, str]]:
    """Scalars that validation turned into a number in silence, and numbers that are none.

    Args:
        values: Plain values as read.
        validated: What became of them: a model, mapping, sequence or scalar.
        key: Where both are, as a.b.

    Yields:
        Key, what was found, what is expected.
    """
    is_number = type(validated) in {int, float}
    if is_number and isinstance(values, (bool, AmbiguousText)):
        yield key, f"{str(values).lower() if isinstance(values, bool) else str(values)!r}", "a plain decimal number"
    elif is_number and isinstance(values, str) and not re.fullmatch(_FLOAT.pattern, values.strip()):
        yield key, repr(values), "a plain decimal number"
    elif isinstance(validated, float) and not math.isfinite(validated):
        yield key, str(validated), "a finite number"
    elif isinstance(values, Mapping):
        for name, value in values.items():
            yield from misread_scalars(value, _item(validated, name), f"{key}.{name}".lstrip("."))
    elif isinstance(values, (list, tuple)) and isinstance(validated, (list, tuple)):
        for place, (value, item) in enumerate(zip(values, validated, strict=False)):
            yield from misread_scalars(value, item, f"{key}.{place}")


def _item(validated: Any, name: Any) -> Any:
    if isinstance(validated, BaseModel):
        return getattr(validated, str(name), None)
    return validated.get(name) if isinstance(validated, Mapping) else None
