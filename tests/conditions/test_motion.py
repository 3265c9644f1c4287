"""Motion of frames: read as it was written, resized with its picture, and refused where it is damaged."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dentgen.conditions.decode import decode_record
from dentgen.conditions.motion import HIDDEN, LEVELS_PER_PIXEL, STILL, motion_levels, motion_of
from dentgen.conditions.prepare import Fit, fit_motion, fit_record
from dentgen.conditions.readers.raw import RawRecord
from dentgen.errors import ConditionError
from dentgen.records import ConditionRecord, Frame
from dentgen.shards.tar import png_bytes

SIZE = 8
SEG = png_bytes(np.zeros((SIZE, SIZE), np.uint8))
Motion = NDArray[np.float32]


def motion(right: float = 1.5, down: float = -0.25, size: int = SIZE) -> Motion:
    """The same everywhere but for one hidden pixel."""
    values = np.broadcast_to(np.array([right, down], np.float32), (size, size, 2)).copy()
    values[2, 3] = np.nan
    return values


def raw(metadata: object = None, **members: bytes) -> RawRecord:
    """A frame; members' dots are underscores at the end."""
    right, down = motion_levels(motion())
    given: dict[str, bytes] = {"seg": SEG, "motion_x": png_bytes(right), "motion_y": png_bytes(down), **members}
    values = {"series": "s", "frame": 3} if metadata is None else metadata
    files = {f"{name}.png": content for name, content in given.items() if content}
    return RawRecord("k", "x.tar: k", {**files, "json": json.dumps(values).encode()})


def decoded(record: RawRecord) -> ConditionRecord:
    return decode_record(record, ("segmentation",), with_motion=True, with_frame=True)


def failure(record: RawRecord) -> ConditionError:
    with pytest.raises(ConditionError) as caught:
        decoded(record)
    return caught.value


def test_what_was_written_is_read() -> None:
    found = decoded(raw())
    assert found.frame == Frame("s", 3)
    assert found.motion is not None
    np.testing.assert_array_equal(found.motion, motion())
    assert decode_record(raw(), ("segmentation",)).motion is None, "read only where it is asked for"


@given(st.floats(-600, 600, width=32))
def test_levels_are_exact_to_half_a_step_or_hidden(pixels: float) -> None:
    values = np.full((1, 1, 2), pixels, np.float32)
    right, down = motion_levels(values)
    if abs(pixels) > 511.9:
        assert right[0, 0] == HIDDEN or abs(pixels) < 512
    else:
        assert abs(motion_of(right, down)[0, 0, 0] - pixels) <= 0.5 / LEVELS_PER_PIXEL


def test_a_still_pixel_and_a_hidden_one_have_levels_of_their_own() -> None:
    right, down = motion_levels(np.array([[[0, 0], [np.nan, 0], [600, 0]]], np.float32))
    assert right.tolist() == [[STILL, HIDDEN, HIDDEN]]
    assert down.tolist() == [[STILL, HIDDEN, HIDDEN]]
    assert np.isnan(motion_of(right, down)[0, 1:]).all()


@pytest.mark.parametrize(
    ("fit", "shape", "scale"),
    [("pad", (16, 32), (2, 2)), ("crop", (16, 32), (4, 4)), ("stretch", (16, 32), (4, 2)), ("pad", (4, 4), (0.5, 0.5))],
)
def test_motion_is_resized_with_its_picture(fit: Fit, shape: tuple[int, int], scale: tuple[float, float]) -> None:
    whole = np.broadcast_to(np.array([1.5, -0.25], np.float32), (SIZE, SIZE, 2))
    fitted = fit_motion(whole, shape, fit)
    assert fitted.shape == (*shape, 2)
    seen = fitted[~np.isnan(fitted).any(-1)]
    assert (seen == np.array([1.5, -0.25]) * scale).all()
    assert len(seen) == (256 if fit == "pad" and shape == (16, 32) else shape[0] * shape[1])


def test_hidden_pixels_do_not_spread_when_a_record_is_resized() -> None:
    found = fit_record(decoded(raw()), (16, 16), "pad").motion
    assert found is not None
    hidden = np.argwhere(np.isnan(found).any(-1))
    assert hidden.tolist() == [[4, 6], [4, 7], [5, 6], [5, 7]]


def test_half_a_motion_is_refused() -> None:
    error = failure(raw(motion_y=b""))
    assert (error.file, error.found) == ("x.tar: k", "the member 'motion_x.png' alone")


def test_motion_of_eight_bits_or_another_size_is_refused() -> None:
    assert "8-bit" in failure(raw(motion_y=png_bytes(np.zeros((SIZE, SIZE), np.uint8)))).found
    other = png_bytes(np.zeros((SIZE, 4), np.uint16))
    assert failure(raw(motion_y=other)).found == "size (8, 4)"
    assert "'motion': (8, 4)" in failure(raw(motion_x=other, motion_y=other)).found


@pytest.mark.parametrize(
    ("metadata", "found", "expected"),
    [
        ({"series": "IMG"}, "series 'IMG' alone", "series and frame, both or neither"),
        ({"frame": 12}, "frame 12 alone", "series and frame, both or neither"),
        ({"series": "s", "frame": "0012.png"}, "frame: '0012.png'", "a valid integer"),
        ({"series": "s", "frame": -1}, "frame: -1", "greater than or equal to 0"),
        ({"series": ["s"], "frame": 0}, "series: ['s']", "a valid string"),
    ],
)
def test_a_series_of_other_software_is_an_error_only_where_it_is_asked_for(
    metadata: dict[str, object], found: str, expected: str
) -> None:
    error = failure(raw(metadata))
    assert (error.file, error.found, error.expected) == ("x.tar: k.json", found, expected)
    ignored = decode_record(raw(metadata), ("segmentation",), with_motion=True)
    assert ignored.frame is None
    assert ignored.motion is not None


def test_a_record_without_series_and_frame_is_no_frame() -> None:
    assert decoded(raw({})).frame is None
    assert decoded(raw({"series": None, "frame": None})).frame is None
