"""Phantoms and relit records by commands, and builds from what they make."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentgen.conditions.decode import decode_record
from dentgen.conditions.readers.raw import RawRecord
from tests.cli.running import Finished
from tests.conftest import DEMO, JAWS, ROOT, write_tar


@pytest.mark.slow
def test_phantoms_are_rendered_once_and_never_mixed(tmp_path: Path, here: Callable[..., Finished]) -> None:
    arguments = ("phantom", str(tmp_path / "p"), "--count", "6", "--seed", "2026", "--size", "48", "--shard-size", "3")
    assert "2 shards rendered now" in here(*arguments).stdout
    assert "0 shards rendered now" in here(*arguments).stdout
    other = here(*arguments[:-1], "2")
    assert other.returncode == 2
    assert "choose another folder" in other.stderr


def relit_samples(folder: Path) -> dict[str, dict[str, bytes]]:
    """Members of relit records by key."""
    from dentgen.conditions.readers.source import list_shards, read_records

    return {raw.key: raw.members for shard in list_shards(str(folder)) for raw in read_records(shard)}


@pytest.mark.slow
def test_records_are_relit_and_nothing_else_changes(
    small_source: Path, tmp_path: Path, here: Callable[..., Finished]
) -> None:
    """Two shards in two processes; run again, and with one output gone, to equal bytes."""
    out = tmp_path / "relit"
    arguments = ("relight", str(small_source), str(out), "--lightings", "3", "--seed", "7")
    first = here(*arguments)
    assert first.returncode == 0, first.stderr
    assert "5 records relit, 3 lightings each, from 2 shards" in first.stdout
    before, after = relit_samples(small_source), relit_samples(out)
    assert len(after) == 15
    for key, members in before.items():
        made = [decode_record(RawRecord(f"{key}-l{n:02d}", "", after[f"{key}-l{n:02d}"]), ()) for n in range(3)]
        record = decode_record(RawRecord(key, "", members), ())
        assert record.fdi is not None
        for relit in made:
            assert relit.fdi is not None
            assert (relit.group, relit.split, relit.license) == (record.group, record.split, record.license)
            assert relit.attributes == {**record.attributes, "lighting": "relit"}
            assert relit.prompt == ", ".join([*record.prompt.split(", ")[:-1], "clinical lighting"]), "no ring flash"
            assert (relit.fdi == record.fdi).all()
            for name, array in record.conditions.items():
                assert (array == relit.conditions[name]).all() == (name != "lighting"), name
        assert len({relit.conditions["lighting"].tobytes() for relit in made}) == 3
        assert not any(name.startswith("photo") for name in after[f"{key}-l00"]), "it shows another light"
        assert "no cast shadows" in json.loads(after[f"{key}-l00"]["json"])["source"]
    shards = {path.name: path.read_bytes() for path in out.glob("*.tar")}
    (out / "b.tar").unlink()
    assert "2 records relit," in here(*arguments).stdout
    assert {path.name: path.read_bytes() for path in out.glob("*.tar")} == shards
    other = here(*arguments[:-1], "8")
    assert other.returncode == 2
    assert "choose another folder" in other.stderr


@pytest.mark.slow
def test_relit_records_can_be_built_from(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    from dentgen.relight.shards import Relighting, write_relit

    key = min(demo_members)
    write_tar(tmp_path / "x.tar", {key: {**demo_members[key], "json": b"{}"}})
    write_relit(str(tmp_path / "x.tar"), str(tmp_path / "relit"), Relighting(2, 0))
    assert {decode_record(RawRecord(k, "", m), ()).group for k, m in relit_samples(tmp_path / "relit").items()} == {key}
    assert len(build_with("real-conditions.yaml", tmp_path / "relit" / "x.tar", tmp_path / "out")) == 8


def test_what_cannot_be_relit_is_named_every_time(
    tmp_path: Path, demo_members: dict[str, dict[str, bytes]], here: Callable[..., Finished]
) -> None:
    keys = sorted(demo_members)[:3]
    records = {key: dict(demo_members[key]) for key in keys}
    del records[keys[1]]["normal.png"]
    records["k" * 78] = demo_members[keys[0]]
    whole = write_tar(tmp_path / "source" / "x.tar", records).read_bytes()
    arguments = ("relight", str(tmp_path / "source"), str(tmp_path / "relit"), "--lightings", "2")
    first = here(*arguments)
    assert first.returncode == 1
    assert re.search(rf"{keys[1]}: found members \[.*\], expected a member 'normal.png'", first.stderr)
    assert re.search(r"k{78}: found a key that is too long", first.stderr)
    assert "2 records relit," in first.stdout
    assert "2 problems" in first.stdout
    assert set(relit_samples(tmp_path / "relit")) == {f"{key}-l0{n}" for key in (keys[0], keys[2]) for n in (0, 1)}
    again = here(*arguments)
    assert again.returncode == 1, "what an earlier run left out is still not there"
    assert f"x.tar: {keys[1]}: not in " in again.stderr
    assert "0 records relit," in again.stdout
    (tmp_path / "source" / "x.tar").write_bytes(whole[: len(whole) // 2])
    cut = here("relight", str(tmp_path / "source"), str(tmp_path / "cut"))
    assert cut.returncode == 1
    assert "cut off at byte" in cut.stderr


def test_relit_shards_never_become_their_own_source(small_source: Path, here: Callable[..., Finished]) -> None:
    for out in (small_source, small_source / "relit"):
        refused = here("relight", str(small_source), str(out))
        assert refused.returncode == 2
        assert f"{out}: OUT: found" in refused.stderr
    assert sorted(path.name for path in small_source.iterdir()) == ["a.tar", "b.tar"]


def build_with(spec_name: str, source: Path, out: Path, *overrides: str) -> dict[str, bytes]:
    """Pictures of a build by sample key."""
    from dentgen.pipeline.run import build
    from dentgen.shards.reader import read_samples
    from dentgen.spec.yaml_file import read_spec

    settings = [f"source.path={source}", f"output.path={out}", *overrides]
    outcome = build(read_spec(ROOT / "jobs" / "specs" / spec_name, settings), use_ray=False)
    assert outcome.index.rejected == 0
    return {key: members["png"] for key, members in read_samples(str(out))}


@pytest.mark.slow
def test_a_folder_and_a_tar_give_the_same_pictures(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    few = {key: demo_members[key] for key in sorted(demo_members)[:3]}
    write_tar(tmp_path / "x.tar", few)
    (tmp_path / "folder").mkdir()
    for key, members in few.items():
        for extension, content in members.items():
            (tmp_path / "folder" / f"{key}.{extension}").write_bytes(content)
    from_tar = build_with("real-conditions.yaml", tmp_path / "x.tar", tmp_path / "1")
    assert len(from_tar) == 12
    assert build_with("real-conditions.yaml", tmp_path / "folder", tmp_path / "2") == from_tar


@pytest.mark.skipif("DENTGEN_REAL_CONDITIONS" not in os.environ, reason="DENTGEN_REAL_CONDITIONS names no folder")
def test_maps_of_real_photographs(tmp_path: Path) -> None:
    """720 x 540 maps of real teeth, from a folder and from the tar in it."""
    folder = Path(os.environ["DENTGEN_REAL_CONDITIONS"])
    (tar,) = folder.glob("*.tar")
    from_tar = build_with("real-conditions.yaml", tar, tmp_path / "1")
    assert len(from_tar) == 20
    assert build_with("real-conditions.yaml", folder, tmp_path / "2", "source.format=folder") == from_tar


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "size"), [(DEMO, 256), (JAWS, 128)])
def test_ready_made_shards_are_what_the_renderer_makes(folder: Path, size: int) -> None:
    """They are no drawings by hand: rendering the first patient again gives the same labels."""
    from io import BytesIO

    from dentgen.conditions.readers.source import list_shards, read_records
    from dentgen.phantom.render import render_patient

    raw = next(read_records(list_shards(str(folder))[0]))
    (phantom,) = render_patient(2026, 0, size, ("frontal",))
    assert raw.key == phantom.key
    assert (np.asarray(Image.open(BytesIO(raw.members["seg.png"]))) == phantom.maps["seg"]).mean() > 0.999
