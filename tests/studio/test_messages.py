"""What browsers send is checked before it is done."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from dentgen.errors import SpecError
from dentgen.studio import messages as ask
from dentgen.studio.messages import binary, read_message
from dentgen.studio.settings import Settings


def test_messages_become_what_they_ask_for() -> None:
    stroke = {"gesture": "g", "points": [[1, 2]], "radius": 3}
    assert isinstance(read_message(json.dumps({"type": "stroke", "id": 4, "stroke": stroke})), ask.Paint)
    message = read_message('{"type": "change layer", "number": 2, "blur": 1.5}')
    assert isinstance(message, ask.ChangeLayer)
    assert message.model_dump(exclude_none=True, exclude={"type", "id", "number"}) == {"blur": 1.5}


@pytest.mark.parametrize(
    "wrong",
    [
        "", "[]", "{", '{"type": "shell"}', '{"type": "undo", "more": 1}',
        '{"type": "move layer", "number": 1, "by": 5}',
        '{"type": "prompt", "prompt": ' + json.dumps("x" * 4001) + "}",
        '{"type": "change layer", "number": 1, "blur": NaN}',
        '{"type": "phantom", "seed": -1}', '{"type": "restore", "state": ' + json.dumps("a" * 65) + "}",
    ],
)  # fmt: skip
def test_anything_else_is_refused(wrong: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_message(wrong)
    assert caught.value.key == "message"


@pytest.mark.parametrize(
    "values", [{"steps": 0}, {"stpes": 4}, {"seed": 2**60}, {"adapters": {"blended": {"gums": 1}}}]
)
def test_settings_out_of_range_are_refused(values: dict[str, Any]) -> None:
    message = ask.SetSettings(type="settings", values=values)
    with pytest.raises(SpecError) as caught:
        message.changed(Settings())
    assert caught.value.key == "settings"


def test_bytes_follow_their_header() -> None:
    message = binary({"type": "frame", "number": 3}, b"\0\1\2")
    (length,) = struct.unpack("<I", message[:4])
    assert json.loads(message[4 : 4 + length]) == {"type": "frame", "number": 3}
    assert message[4 + length :] == b"\0\1\2"
