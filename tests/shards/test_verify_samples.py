"""Samples of a shard whose hash is right: damage that only reading them finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dentgen.conditions.labels import LABEL_VALUES
from dentgen.documents.ledger import LedgerRecord
from dentgen.shards.ledger import read_ledger
from dentgen.shards.plan import Plan
from dentgen.shards.reader import Members, tar_samples
from dentgen.shards.tar import png_bytes, tar_bytes
from dentgen.shards.verify_samples import expected_members, sample_problems
from tests.report.fake_builds import fake_build, fake_plan, written

Shard = tuple[Plan, LedgerRecord, dict[str, Members]]

KEY, OTHER = "jaw-000-v000", "jaw-000-v001"
SIZE = 16


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Shard:
    """Plan, record and samples of a shard."""
    out = tmp_path_factory.mktemp("build")
    plan = fake_build(out, [written(0)])
    return plan, read_ledger(str(out), "000000"), dict(tar_samples((out / "shards" / "000000.tar").read_bytes()))


def png(value: int, size: int = SIZE, dtype: type = np.uint8) -> bytes:
    return png_bytes(np.full((size, size), value, dtype))


def with_member(name: str, content: bytes) -> Callable[[dict[str, Members]], object]:
    return lambda samples: samples[KEY].update({name: content})


#: What is done to the samples, the keys that are named, and facts that the text must hold.
DAMAGE: dict[str, tuple[Callable[[dict[str, Members]], object], set[str], tuple[str, ...]]] = {
    "a class that does not exist": (with_member("seg.png", png(9)), {KEY}, ("seg.png", "[9]")),
    "a tooth that does not exist": (with_member("fdi.png", png(19)), {KEY}, ("fdi.png", "[19]")),
    "a map of another size": (with_member("light.png", png(0, 8)), {KEY}, ("light.png", "(8, 8)", "(16, 16)")),
    "a map of 16 bits": (with_member("light.png", png(9, dtype=np.uint16)), {KEY}, ("light.png", "I;16", "'L'")),
    "a picture in grey": (with_member("png", png(3)), {KEY}, ("png", "'L'", "'RGB'")),
    "no image": (with_member("light.png", b"text"), {KEY}, ("light.png", "PNG")),
    "a truncated image": (with_member("light.png", png(9)[:45]), {KEY}, ("light.png", "PNG")),
    "metadata that is none": (with_member("json", b"{}"), {KEY}, ("json",)),
    "metadata of another sample": (
        lambda samples: samples[KEY].update(json=samples[OTHER]["json"]),
        {KEY},
        ("json", KEY, OTHER),
    ),
    "a member less": (lambda samples: samples[KEY].pop("light.png"), {KEY}, ("light.png",)),
    "a member more": (with_member("notes.txt", b""), {KEY}, ("notes.txt",)),
    "a sample less": (lambda samples: samples.pop(KEY), {KEY}, ()),
    "a sample more": (lambda samples: samples.update(x=samples[KEY]), {"x"}, ()),
}


def problems(shard: Shard, samples: dict[str, Members]) -> list[tuple[str, str]]:
    plan, record, _ = shard
    return list(sample_problems(tar_bytes(samples.items()), record, plan, LABEL_VALUES))


def test_intact_samples_have_no_problem(shard: Shard) -> None:
    assert problems(shard, shard[2]) == []


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named_by_sample_and_member(case: str, shard: Shard) -> None:
    change, keys, facts = DAMAGE[case]
    samples = {key: dict(members) for key, members in shard[2].items()}
    change(samples)
    found = problems(shard, samples)
    assert {key for key, _ in found} == keys
    assert all(fact in " ".join(text for _, text in found) for fact in facts), found


def test_metadata_of_another_build_is_found(shard: Shard) -> None:
    samples = {key: dict(members) for key, members in shard[2].items()}
    changed = samples[KEY]["json"].replace(shard[0].spec_digest.encode(), b"0" * 64)
    assert changed != samples[KEY]["json"]
    samples[KEY]["json"] = changed
    ((key, text),) = problems(shard, samples)
    assert key == KEY
    assert "spec_digest" in text


def test_height_and_width_are_told_apart(tmp_path: Path) -> None:
    """In pictures, in maps and in the metadata."""
    fake_build(tmp_path / "tall", [written(0)], conditions={"size": [32, 16]})
    plan = fake_build(tmp_path / "wide", [written(0)], conditions={"size": [16, 32]})
    record = read_ledger(str(tmp_path / "wide"), "000000")
    wide, tall = ((tmp_path / name / "shards" / "000000.tar").read_bytes() for name in ("wide", "tall"))
    assert list(sample_problems(wide, record, plan, LABEL_VALUES)) == []
    found = [text for key, text in sample_problems(tall, record, plan, LABEL_VALUES) if key == KEY]
    for name in ("png", "seg.png", "fdi.png", "light.png"):
        (text,) = [text for text in found if text.startswith(f"{name}:")]
        assert text.index("(16, 32)") < text.index("(32, 16)"), "Pillow names the width first"
    assert {"json: found height 32, expected 16", "json: found width 16, expected 32"} <= set(found)


def test_members_follow_the_spec() -> None:
    plan = fake_plan(output={"image_format": "webp"}, conditions={"use": ["depth"]}, model={"adapters": {}})
    assert expected_members(plan) == {
        "webp": ("WEBP", ("RGB",)),
        "seg.png": ("PNG", ("L",)),
        "fdi.png": ("PNG", ("L",)),
        "depth.png": ("PNG", ("I;16",)),
    }


def test_a_shard_of_nothing_lacks_every_written_sample(shard: Shard, tmp_path: Path) -> None:
    assert {key for key, _ in problems(shard, {})} == {KEY, OTHER}


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Shard:
    """A shard of a build with at most two painted regions; one sample has one."""
    out = tmp_path_factory.mktemp("painted")
    plan = fake_build(out, [written(0)], regions={"painted": 2})
    samples = dict(tar_samples((out / "shards" / "000000.tar").read_bytes()))
    metadata = json.loads(samples[KEY]["json"])
    assert metadata["painted"] == []
    metadata["painted"] = [{"name": "gum", "prompt": "red"}]
    samples[KEY] = {**samples[KEY], "json": json.dumps(metadata).encode(), "painted.png": png(1)}
    return plan, read_ledger(str(out), "000000"), samples


def test_painted_regions_are_members_with_entries(painted: Shard) -> None:
    plan, _, samples = painted
    assert expected_members(plan)["painted.png"] == ("PNG", ("L",))
    assert problems(painted, samples) == []
    for changes, fact in (
        ({"painted.png": png(2)}, "at most 1"),
        ({"json": samples[KEY]["json"].replace(b'"painted"', b'"paint"')}, "json"),
        ({"json": _without(samples[KEY]["json"], "painted")}, "found no painted"),
    ):
        ((key, text),) = problems(painted, {**samples, KEY: {**samples[KEY], **changes}})
        assert key == KEY
        assert fact in text


def _without(content: bytes, name: str) -> bytes:
    return json.dumps({key: value for key, value in json.loads(content).items() if key != name}).encode()
