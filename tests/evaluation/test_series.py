"""Series as evaluations read them: whole, in order, with reference pictures."""

from __future__ import annotations

import json
import weakref
from pathlib import Path

import numpy as np
import pytest

from dentgen.conditions.motion import motion_levels
from dentgen.errors import ConditionError
from dentgen.evaluation.series import read_series
from dentgen.shards.tar import png_bytes
from dentgen.spec.build import BuildSpec
from tests.conftest import write_tar

Members = dict[str, bytes]
SPEC = BuildSpec.model_validate({"conditions": {"size": 64}})


def frame(members: Members, number: int, series: str = "s", right: float | None = None) -> Members:
    """A record as a frame, with or without motion."""
    metadata = {**json.loads(members["json"]), "series": series, "frame": number}
    moved: Members = {}
    if right is not None:
        x, y = motion_levels(np.broadcast_to(np.array([right, 0], np.float32), (128, 128, 2)))
        moved = {"motion_x.png": png_bytes(x), "motion_y.png": png_bytes(y)}
    return {**members, **moved, "json": json.dumps(metadata).encode()}


@pytest.fixture(scope="module")
def members(demo_members: dict[str, Members]) -> Members:
    return demo_members[min(demo_members)]


def failure(folder: Path, records: dict[str, Members]) -> ConditionError:
    write_tar(folder / "s" / "x.tar", records)
    with pytest.raises(ConditionError) as caught:
        [*read_series(str(folder / "s"), SPEC)]
    return caught.value


def test_frames_are_put_in_order_and_motion_is_inverted(members: Members, tmp_path: Path) -> None:
    mixed = {f"a{n}": frame(members, n, right=2.0 * n) for n in (2, 0, 3, 1)}
    still = {f"b{n}": frame(members, n, "still") for n in range(4)}
    write_tar(tmp_path / "x.tar", {**mixed, **still, "alone": members})
    moved, other = read_series(str(tmp_path), SPEC)
    assert [record.key for record in moved.frames] == ["a0", "a1", "a2", "a3"]
    assert (moved.moves, other.moves) == (True, False)
    assert moved.places[2].column[5, 10] == pytest.approx(10 - 2), "half of four pixels"
    assert all(picture.shape == (64, 64, 3) for picture in moved.references)


def test_what_is_no_series_is_refused(members: Members, tmp_path: Path) -> None:
    assert failure(tmp_path / "none", {"a": members}).found == "no series"
    twice = {f"a{n}": frame(members, min(n, 3)) for n in range(5)}
    assert failure(tmp_path / "twice", twice).found == "frames [0, 1, 2, 3, 3]"
    assert failure(tmp_path / "short", {f"a{n}": frame(members, n) for n in range(3)}).file == "series s"
    bare = {name: content for name, content in members.items() if not name.startswith("photo")}
    blind = {f"a{n}": frame(bare if n == 2 else members, n) for n in range(4)}
    assert failure(tmp_path / "blind", blind).found == "a frame without a photo"


def test_a_frame_that_is_no_number_is_named(members: Members, tmp_path: Path) -> None:
    records = {f"a{n}": frame(members, n) for n in range(4)}
    records["a2"] = {**members, "json": json.dumps({"series": "s", "frame": "0012.png"}).encode()}
    error = failure(tmp_path, records)
    assert (error.file.endswith("a2.json"), error.found) == (True, "frame: '0012.png'")


def test_one_series_is_in_memory_at_a_time_however_their_frames_are_mixed(members: Members, tmp_path: Path) -> None:
    mixed = [(name, n) for n in range(4) for name in "ab"]
    for shard in range(2):
        records = {f"{name}{n}": frame(members, n, name, right=1.0) for name, n in mixed[4 * shard : 4 * shard + 4]}
        write_tar(tmp_path / f"{shard}.tar", records)
    read = read_series(str(tmp_path), SPEC)
    first = next(read)
    assert [record.key for record in first.frames] == ["a0", "a1", "a2", "a3"]
    kept = weakref.ref(first.aligned_references[0])
    del first
    second = next(read)
    assert kept() is None
    assert [record.key for record in second.frames] == ["b0", "b1", "b2", "b3"]
    assert next(read, None) is None
