"""Relit shards: equal maps under other lights, resumed, never mixed, and complete or reported."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from dentgen.conditions.decode import decode_record
from dentgen.conditions.motion import motion_levels
from dentgen.conditions.painted import painted_entries
from dentgen.conditions.readers.raw import RawRecord
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.errors import ConditionError, SpecError, StorageError
from dentgen.relight.shading import draw_lightings, shade
from dentgen.relight.shards import PARAMETERS, Relighting, relit_key, write_relit
from dentgen.shards.tar import png_bytes
from tests.conditions.painted_records import WHITE, band, region, with_painted
from tests.conftest import write_tar

TWICE = Relighting(lightings=2, seed=7)
Members = dict[str, bytes]


def samples(folder: Path) -> dict[str, Members]:
    return {raw.key: raw.members for shard in list_shards(str(folder)) for raw in read_records(shard)}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "relit"


@pytest.fixture
def source(tmp_path: Path, demo_members: dict[str, Members]) -> Path:
    """One shard with two records."""
    write_tar(tmp_path / "source" / "x.tar", {key: demo_members[key] for key in sorted(demo_members)[:2]})
    return tmp_path / "source"


def test_lighting_maps_are_shaded_from_the_record_s_normals_and_depth(source: Path, out: Path) -> None:
    (shard,) = write_relit(str(source), str(out), TWICE, workers=1)
    assert (shard.records, shard.problems) == (2, ())
    before, after = samples(source), samples(out)
    assert sorted(after) == sorted(relit_key(key, n) for key in before for n in range(2))
    for key, members in before.items():
        maps = decode_record(RawRecord(key, "", members), ()).conditions
        for number, lighting in enumerate(draw_lightings(7, key, 2)):
            relit = decode_record(RawRecord(key, "", after[relit_key(key, number)]), ()).conditions
            assert (relit["lighting"] == shade(maps["normal"], maps["depth"], lighting)).all()
            assert all((relit[name] == maps[name]).all() for name in maps if name != "lighting")
            assert "photo.png" not in after[relit_key(key, number)], "it shows the old light"


def test_metadata_name_the_origin_and_the_lamps_and_not_the_old_light(source: Path, out: Path) -> None:
    write_relit(str(source), str(out), TWICE, workers=1)
    key = min(samples(source))
    old, new = (json.loads(members["json"]) for members in (samples(source)[key], samples(out)[relit_key(key, 1)]))
    assert new["prompt"] == ", ".join([*old["prompt"].split(", ")[:-1], "clinical lighting"])
    assert (new["lighting"], new["group"], new["split"]) == ("relit", old["group"], old["split"])
    assert new["source"].startswith(f"{key} of x.tar")
    assert new["relight"]["style"] == draw_lightings(7, key, 2)[1].style


def test_a_record_becomes_a_series_under_a_lamp_that_swings(source: Path, out: Path) -> None:
    write_relit(str(source), str(out), Relighting(lightings=3, seed=7, swing=True), workers=1)
    key, found = min(samples(source)), samples(out)
    metadata = [json.loads(found[f"{key}-f{number:03d}"]["json"]) for number in range(3)]
    assert [(each["series"], each["frame"]) for each in metadata] == [(key, number) for number in range(3)]
    assert len({found[f"{key}-f{number:03d}"]["light.png"] for number in range(3)}) == 3
    assert len({found[f"{key}-f{number:03d}"]["seg.png"] for number in range(3)}) == 1
    with pytest.raises(SpecError):
        write_relit(str(source), str(out), Relighting(lightings=3, seed=7), workers=1)


def test_frames_of_a_series_are_relit_alike_and_keep_their_motion(
    tmp_path: Path, out: Path, demo_members: dict[str, Members]
) -> None:
    members = demo_members[min(demo_members)]
    right, down = motion_levels(np.full((128, 128, 2), 1.5, np.float32))
    moved = {"motion_x.png": png_bytes(right), "motion_y.png": png_bytes(down)}
    frames = {f"s{n}": {**members, **moved, "json": json.dumps({"series": "s", "frame": n}).encode()} for n in range(2)}
    write_tar(tmp_path / "series" / "x.tar", frames)
    write_relit(str(tmp_path / "series"), str(out), TWICE, workers=1)
    found = samples(out)
    one, other = (json.loads(found[relit_key(f"s{n}", 1)]["json"]) for n in range(2))
    assert ((one["series"], one["frame"]), (other["series"], other["frame"])) == (("s-l01", 0), ("s-l01", 1))
    assert found["s0-l01"]["light.png"] == found["s1-l01"]["light.png"]
    relit = decode_record(RawRecord("k", "", found["s1-l01"]), (), with_motion=True)
    assert relit.motion is not None
    assert (relit.motion == 1.5).all()
    (shard,) = write_relit(str(tmp_path / "series"), str(out / "again"), Relighting(2, 7, swing=True), workers=1)
    assert shard.records == 0
    assert all("a record of no series" in problem for problem in shard.problems)


def test_a_series_or_frame_of_other_software_is_no_series_until_both_are_named(
    tmp_path: Path, out: Path, demo_members: dict[str, Members]
) -> None:
    members = demo_members[min(demo_members)]
    named: dict[str, dict[str, object]] = {
        "a": {"frame": 12}, "b": {"series": "IMG"}, "c": {"frame": "0012.png"}, "d": {"series": "s", "frame": "0012"},
        "e": {"series": "s", "frame": "0012.png"},
    }  # fmt: skip
    records = {key: {**members, "json": json.dumps(metadata).encode()} for key, metadata in named.items()}
    write_tar(tmp_path / "foreign" / "x.tar", records)
    (shard,) = write_relit(str(tmp_path / "foreign"), str(out), TWICE, workers=1)
    assert shard.records == 4
    (problem,) = shard.problems
    assert "frame: '0012.png'" in problem
    found = {key: json.loads(relit["json"]) for key, relit in samples(out).items()}
    assert all("series" not in found[relit_key(key, 0)] for key in "abc")
    assert found["d-l01"]["frame"] == 12


def test_an_interrupted_run_resumes_to_the_same_bytes(source: Path, out: Path) -> None:
    write_relit(str(source), str(out), TWICE, workers=1)
    content = (out / "x.tar").read_bytes()
    assert write_relit(str(source), str(out), TWICE, workers=1)[0].records == 0
    (out / "x.tar").unlink()
    assert write_relit(str(source), str(out), TWICE, workers=1)[0].records == 2
    assert (out / "x.tar").read_bytes() == content


def test_more_lightings_leave_the_first_ones_as_they_are(source: Path, out: Path, tmp_path: Path) -> None:
    write_relit(str(source), str(out), TWICE, workers=1)
    write_relit(str(source), str(tmp_path / "more"), Relighting(3, 7), workers=1)
    assert samples(out).items() <= samples(tmp_path / "more").items()


def test_other_parameters_are_refused(source: Path, out: Path) -> None:
    write_relit(str(source), str(out), TWICE, workers=1)
    with pytest.raises(SpecError) as caught:
        write_relit(str(source), str(out), Relighting(2, 8), workers=1)
    assert caught.value.file.endswith(f"/{PARAMETERS}")
    assert (caught.value.found, caught.value.expected) == ({"lightings": 2, "seed": 7}, {"lightings": 2, "seed": 8})


def test_outputs_inside_the_source_are_refused(source: Path) -> None:
    for inside in (source, source / "relit"):
        with pytest.raises(SpecError) as caught:
            write_relit(str(source), str(inside), TWICE, workers=1)
        assert caught.value.file == str(inside)
    assert [path.name for path in source.iterdir()] == ["x.tar"]


def test_sources_without_records_are_refused(tmp_path: Path, out: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with pytest.raises(StorageError):
        write_relit(str(source), str(out), TWICE, workers=1)
    (source / "notes.txt").write_text("nothing")
    with pytest.raises(ConditionError):
        write_relit(str(source), str(out), TWICE, workers=1)
    assert not out.exists()


def test_records_that_cannot_be_relit_are_reported_by_every_run(
    tmp_path: Path, out: Path, demo_members: dict[str, Members]
) -> None:
    good, flat = sorted(demo_members)[:2]
    too_long = "k" * 78
    records = {good: demo_members[good], flat: dict(demo_members[flat]), too_long: demo_members[good]}
    del records[flat]["normal.png"]
    write_tar(tmp_path / "source" / "x.tar", records)
    for expected in (1, 0):
        (shard,) = write_relit(str(tmp_path / "source"), str(out), TWICE, workers=1)
        assert shard.records == expected
        assert [flat in problem or too_long in problem for problem in shard.problems] == [True, True]
    assert set(samples(out)) == {relit_key(good, 0), relit_key(good, 1)}


def test_a_damaged_shard_keeps_what_could_be_read(tmp_path: Path, out: Path, demo_members: dict[str, Members]) -> None:
    keys = sorted(demo_members)[:3]
    whole = write_tar(tmp_path / "source" / "x.tar", {key: demo_members[key] for key in keys})
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (shard,) = write_relit(str(tmp_path / "source"), str(out), TWICE, workers=1)
    assert 0 < shard.records < 3
    assert len(shard.problems) == 1


def test_folders_become_one_tar(tmp_path: Path, out: Path, demo_members: dict[str, Members]) -> None:
    (tmp_path / "source").mkdir()
    key = min(demo_members)
    for extension, content in demo_members[key].items():
        (tmp_path / "source" / f"{key}.{extension}").write_bytes(content)
    write_relit(str(tmp_path / "source"), str(out), TWICE, workers=1)
    assert sorted(path.name for path in out.iterdir()) == ["folder.tar", PARAMETERS]


def test_maps_are_encoded_again(source: Path, out: Path, demo_members: dict[str, Members]) -> None:
    """Text chunks and other extras of the input's files do not reach the output."""
    key = min(demo_members)
    members = dict(demo_members[key])
    end = members["seg.png"].index(b"IDAT") - 4
    text = b"tEXtComment\x00secret"
    chunk = (len(text) - 4).to_bytes(4) + text + zlib.crc32(text).to_bytes(4)
    members["seg.png"] = members["seg.png"][:end] + chunk + members["seg.png"][end:]
    write_tar(source / "x.tar", {key: members})
    write_relit(str(source), str(out), TWICE, workers=1)
    relit = samples(out)[relit_key(key, 0)]["seg.png"]
    assert b"secret" not in relit


def test_painted_regions_stay(out: Path, tmp_path: Path, demo_members: dict[str, Members]) -> None:
    key = min(demo_members)
    regions = (region(band(128), strength=0.5), region(band(128, 0.25, 1.0), "teeth", WHITE))
    write_tar(tmp_path / "source" / "x.tar", {key: with_painted(demo_members[key], regions)})
    write_relit(str(tmp_path / "source"), str(out), TWICE, workers=1)
    relit = RawRecord("k", "", samples(out)[relit_key(key, 1)])
    found = decode_record(relit, (), with_painted=True).painted
    assert painted_entries(found) == painted_entries(regions)
    assert all(np.array_equal(one.mask, other.mask) for one, other in zip(found, regions, strict=True))
