"""Borders hide what their mask says, text hides nothing, and both stay off other pixels."""

from __future__ import annotations

import numpy as np

from dentgen.phantom.surroundings.frame import Frame, sample_frame
from dentgen.seeding import numpy_generator

PICTURE = np.full((64, 64, 3), 90, np.uint8)


def test_borders_cover_their_margins_alone() -> None:
    frame = Frame((0.25, 0.0, 0.125, 0.5), 255, "", (0, 0), 0.1, 1.0)
    mask = frame.visible(64)
    assert mask[16:56, 32:].all()
    assert mask.sum() == 40 * 32
    framed = frame.added_to(PICTURE)
    assert (framed[mask] == 90).all()
    assert (framed[~mask] == 255).all()


def test_text_is_written_where_it_is_placed() -> None:
    frame = Frame((0.0, 0.0, 0.0, 0.0), 0, "Fig. 8", (0.1, 0.5), 0.2, 0.5)
    written = (frame.added_to(PICTURE) != 90).any(-1)
    assert 20 < written.sum() < 700
    rows, columns = np.nonzero(written)
    assert rows.min() >= 31
    assert columns.min() >= 6
    assert frame.visible(64).all()
    assert frame.added_to(PICTURE).max() <= 90 * 0.5 + 255 * 0.5 + 1


def test_frames_follow_their_share_and_leave_most_of_the_picture() -> None:
    frames = [sample_frame(0.4, numpy_generator("frames", number)) for number in range(400)]
    found = [frame for frame in frames if frame is not None]
    assert 120 < len(found) < 200
    assert all(frame.text or not frame.visible(64).all() for frame in found)
    assert min(frame.visible(64).mean() for frame in found) > 0.6
    assert sample_frame(0.0, numpy_generator("none")) is None
