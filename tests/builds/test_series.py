"""Builds of series: frames share noise and carry it along, whatever the order, the shards and the processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from dentgen.conditions.motion import motion_levels, motion_of
from dentgen.pipeline.run import build
from dentgen.shards.reader import read_samples
from dentgen.shards.tar import png_bytes
from dentgen.spec.build import BuildSpec
from tests.conftest import problems, shard_bytes, small_spec, write_tar

Members = dict[str, bytes]
#: Pixels of the maps by which frames are moved, right and down; half as many in the build.
MOTIONS = ((0, 0), (32, 0), (5, -3), (0, 0))
SIZE = 128


def frame(members: Members, number: int, motion: tuple[int, int] | None, series: str = "s") -> Members:
    """A record as a frame of a series: its maps stay, so that pictures differ by their noise alone."""
    metadata = {**json.loads(members["json"]), "series": series, "frame": number}
    moved: Members = {}
    if motion is not None:
        right, down = motion_levels(np.broadcast_to(np.array(motion, np.float32), (SIZE, SIZE, 2)))
        moved = {"motion_x.png": png_bytes(right), "motion_y.png": png_bytes(down)}
    return {**members, **moved, "json": json.dumps(metadata).encode()}


@pytest.fixture(scope="module")
def members(demo_members: dict[str, Members]) -> Members:
    return demo_members[min(demo_members)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, members: Members) -> Path:
    """Four frames in two shards."""
    folder = tmp_path_factory.mktemp("series")
    frames = {f"s-f{n}": frame(members, n, motion) for n, motion in enumerate(MOTIONS)}
    for shard in range(2):
        write_tar(folder / f"{shard}.tar", dict([*frames.items()][2 * shard : 2 * shard + 2]))
    return folder


def spec(source: Path, out: Path, noise: str, /, **sections: dict[str, object]) -> BuildSpec:
    sampling: dict[str, object] = {"variants": 2, "steps": 2, "seed": 5, "noise": noise, **sections.pop("sampling", {})}
    return small_spec(source, out, sampling=sampling, **sections)


def pictures(out: Path) -> dict[str, bytes]:
    return {key: found["png"] for key, found in read_samples(str(out))}


@pytest.fixture(scope="module")
def moved(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("moved")
    build(spec(source, out, "motion"), use_ray=False)
    return out


@pytest.mark.integration
def test_a_moved_series_is_whole_and_says_what_its_frames_are(moved: Path) -> None:
    assert problems(moved) == []
    samples = dict(read_samples(str(moved)))
    assert len(samples) == 2 * len(MOTIONS)
    for number, motion in enumerate(MOTIONS):
        found = samples[f"s-f{number}-v001"]
        metadata = json.loads(found["json"])
        assert (metadata["series"], metadata["frame"]) == ("s", number)
        levels = [png_levels(found[f"motion_{axis}.png"]) for axis in "xy"]
        assert (motion_of(*levels) == np.array(motion) / 2).all(), "at the size of the picture"


def test_the_card_declares_members_and_fields_of_a_series(moved: Path) -> None:
    head = yaml.safe_load((moved / "README.md").read_text().split("---")[1])
    features = {feature["name"]: feature for feature in head["dataset_info"]["features"]}
    members = dict(read_samples(str(moved)))["s-f1-v000"]
    assert features.keys() - {"__key__", "__url__"} == members.keys()
    assert {field["name"] for field in features["json"]["struct"]} == json.loads(members["json"]).keys()


def png_levels(content: bytes) -> np.ndarray[Any, np.dtype[np.uint16]]:
    from io import BytesIO

    from PIL import Image

    return np.asarray(Image.open(BytesIO(content))).astype(np.uint16)


def test_frames_that_have_not_moved_have_one_picture_and_others_their_own(moved: Path) -> None:
    found = pictures(moved)
    assert found["s-f0-v000"] == found["s-f3-v000"] != found["s-f0-v001"]
    assert len({found[f"s-f{number}-v000"] for number in range(3)}) == 3


@pytest.mark.integration
def test_without_motion_all_frames_have_the_noise_of_frame_0(source: Path, moved: Path, tmp_path: Path) -> None:
    build(spec(source, tmp_path, "series"), use_ray=False)
    shared = pictures(tmp_path)
    assert {shared[f"s-f{n}-v000"] for n in range(4)} == {pictures(moved)["s-f0-v000"]}
    assert "motion_x.png" not in dict(read_samples(str(tmp_path)))["s-f0-v000"]


@pytest.mark.slow
def test_pictures_do_not_depend_on_shards_order_and_neighbours(
    source: Path, members: Members, moved: Path, tmp_path: Path
) -> None:
    frames = {f"s-f{n}": frame(members, n, motion) for n, motion in enumerate(MOTIONS)}
    write_tar(tmp_path / "source" / "x.tar", {key: frames[key] for key in ("s-f2", "s-f1")})
    build(spec(tmp_path / "source", tmp_path / "out", "motion", pipeline={"samples_per_shard": 2}), use_ray=False)
    found, whole = pictures(tmp_path / "out"), pictures(moved)
    assert found == {key: whole[key] for key in found}
    assert len(found) == 4


@pytest.mark.integration
def test_noise_of_their_own_is_what_it_was_before_there_were_series(
    source: Path, members: Members, tmp_path: Path
) -> None:
    """The same records with and without series: pictures and digests do not tell."""
    write_tar(tmp_path / "source" / "x.tar", {f"s-f{n}": members for n in range(2)})
    for name, place in (("plain", tmp_path / "source"), ("series", source)):
        build(spec(place, tmp_path / name, "record"), use_ray=False)
    plain, series = pictures(tmp_path / "plain"), pictures(tmp_path / "series")
    assert plain == {key: series[key] for key in plain}
    assert "series" not in json.loads(dict(read_samples(str(tmp_path / "plain")))["s-f0-v000"]["json"])
    assert BuildSpec.model_validate({"sampling": {"noise": "record"}}).digest() == BuildSpec().digest()
    assert "noise" not in BuildSpec().deciding()["sampling"]


@pytest.mark.slow
@pytest.mark.ray
def test_ray_gives_the_bytes_of_one_process(source: Path, moved: Path, tmp_path: Path, ray_local: None) -> None:
    build(spec(source, tmp_path, "motion", pipeline={"actors": 1}))
    assert shard_bytes(tmp_path) == shard_bytes(moved)


@pytest.mark.slow
def test_noise_that_is_added_at_every_step_is_carried_too(source: Path, tmp_path: Path) -> None:
    build(spec(source, tmp_path, "motion", sampling={"scheduler": "ddpm", "variants": 1}), use_ray=False)
    found = pictures(tmp_path)
    assert found["s-f0-v000"] == found["s-f3-v000"] != found["s-f1-v000"]


@pytest.mark.integration
@pytest.mark.parametrize(("noise", "motion", "missing"), [("series", (0, 0), "series"), ("motion", None, "motion_x")])
def test_records_without_a_series_or_its_motion_are_rejected(
    noise: str, motion: tuple[int, int] | None, missing: str, members: Members, tmp_path: Path
) -> None:
    good = frame(members, 0, (0, 0))
    bad = members if noise == "series" else frame(members, 1, motion)
    write_tar(tmp_path / "source" / "x.tar", {"a": good, "b": bad})
    quality: dict[str, object] = {"max_rejected": 1.0}
    outcome = build(spec(tmp_path / "source", tmp_path / "out", noise, quality=quality), use_ray=False)
    assert sorted(pictures(tmp_path / "out")) == ["a-v000", "a-v001"]
    assert sum(outcome.rejected.values()) == 2
    ledger = (tmp_path / "out" / "ledger" / "000000.json").read_text()
    assert f"sampling.noise is {noise}" in ledger
    assert missing in ledger


@pytest.mark.integration
@pytest.mark.parametrize("metadata", [{"frame": 12}, {"series": "IMG"}])
def test_a_series_or_frame_of_other_software_counts_only_where_noise_is_shared(
    metadata: dict[str, object], members: Members, tmp_path: Path
) -> None:
    foreign = {**members, "json": json.dumps(metadata).encode()}
    write_tar(tmp_path / "source" / "x.tar", {"a": foreign, "b": frame(members, 0, None)})
    sampling: dict[str, object] = {"variants": 1, "steps": 1}
    quality: dict[str, object] = {"max_rejected": 1.0}
    assert build(spec(tmp_path / "source", tmp_path / "own", "record", sampling=sampling), use_ray=False).rejected == {}
    assert sorted(pictures(tmp_path / "own")) == ["a-v000", "b-v000"]
    shared = spec(tmp_path / "source", tmp_path / "out", "series", sampling=sampling, quality=quality)
    build(shared, use_ray=False)
    assert [*pictures(tmp_path / "out")] == ["b-v000"]
    (name, value), *_ = metadata.items()
    assert f"found {name} {value!r} alone" in (tmp_path / "out" / "ledger" / "000000.json").read_text()


@pytest.mark.parametrize(
    "sections",
    [
        {"findings": [{"kind": "other", "where": "gingiva", "prompt": "inflamed gum"}]},
        {"variants": {"same_noise": True, "change": ["lighting"]}},
        {"quality": {"gate": {"retry": 1}}},
        {"sampling": {"noise": "motion", "start_from": "reference"}},
    ],
)
def test_what_would_differ_from_frame_to_frame_is_refused(sections: dict[str, Any]) -> None:
    plain = {**sections, "sampling": {**sections.get("sampling", {}), "noise": "record"}}
    BuildSpec.model_validate(plain)
    with pytest.raises(ValidationError):
        BuildSpec.model_validate({"sampling": {"noise": "series"}, **sections})


@pytest.mark.parametrize("noise", ["series", "motion"])
@pytest.mark.parametrize("key", ["occluder", "border", "exposure"])
def test_what_augment_draws_per_sample_is_refused_by_its_key(key: str, noise: str) -> None:
    """Rods and bars would stay where the stored motion says that the surface moves."""
    BuildSpec.model_validate({"sampling": {"noise": noise}, "augment": {key: 0}})
    with pytest.raises(ValidationError, match=f"sampling.noise {noise}: found augment.{key}, drawn per record"):
        BuildSpec.model_validate({"sampling": {"noise": noise}, "augment": {key: 0.25}})
