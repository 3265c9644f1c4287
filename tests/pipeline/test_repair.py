"""Repair regenerates exactly what is damaged, to the committed bytes, and refuses what would give others."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dentgen.errors import BuildError, SpecChangedError
from dentgen.pipeline.finish import finish
from dentgen.pipeline.repair import repair
from dentgen.pipeline.run import build
from dentgen.shards.ledger import digest_of, read_ledger
from dentgen.shards.plan_file import plan_head, read_plan
from tests.conftest import problems, shard_bytes, small_spec, write_tar


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, demo_members: dict[str, dict[str, bytes]]) -> Path:
    """A finished build of three units."""
    folder = tmp_path_factory.mktemp("sound")
    keys = sorted(demo_members)[:5]
    write_tar(folder / "conditions" / "a.tar", {key: demo_members[key] for key in keys})
    build(small_spec(folder / "conditions", folder / "out", sampling={"steps": 1}), use_ray=False)
    return folder


@pytest.fixture
def out(sound: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound / "conditions", tmp_path / "conditions")
    shutil.copytree(sound / "out", tmp_path / "out")
    return tmp_path / "out"


def rewrite_plan(out: Path, **changes: Any) -> None:
    plan, units = replace(read_plan(str(out)), **changes), out / "plan" / "000000.units.parquet"
    for head in (out / "plan" / "000000.json", out / "versions" / "0" / "plan.json"):
        head.write_bytes(plan_head(plan, units.read_bytes()))


def times(out: Path) -> dict[str, int]:
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in (out / "shards").iterdir()}


def test_missing_and_damaged_shards_are_restored_and_nothing_else_is_touched(sound: Path, out: Path) -> None:
    (out / "shards" / "000000.tar").unlink()
    damaged = bytearray((out / "shards" / "000002.tar").read_bytes())
    damaged[900] ^= 1
    (out / "shards" / "000002.tar").write_bytes(bytes(damaged))
    assert [line.split(":")[0] for line in problems(out)] == ["shards/000000.tar", "shards/000002.tar"]
    before, ledger = times(out), {p.name: p.read_bytes() for p in (out / "ledger").iterdir()}
    outcome = repair(str(out), use_ray=False)
    assert (outcome.units, outcome.left) == ((0, 2), ())
    assert shard_bytes(out) == shard_bytes(sound / "out")
    assert problems(out) == []
    assert times(out)["shards/000001.tar"] == before["shards/000001.tar"]
    assert {p.name: p.read_bytes() for p in (out / "ledger").iterdir()} == ledger


@pytest.mark.slow
def test_damaged_and_missing_ledger_records_are_restored(sound: Path, out: Path) -> None:
    (out / "ledger" / "000000.json").write_text("{")
    (out / "ledger" / "000001.json").unlink()
    assert repair(str(out), use_ray=False).units == (0, 1)
    assert problems(out) == []
    assert shard_bytes(out) == shard_bytes(sound / "out")


@pytest.mark.parametrize("name", ["index.json", "versions/0/index.json", "samples.parquet", "_SUCCESS"])
def test_derived_files_are_derived_again(name: str, sound: Path, out: Path) -> None:
    (out / name).unlink()
    outcome = repair(str(out), use_ray=False)
    assert (outcome.units, outcome.left) == ((), ())
    assert (out / name).read_bytes() == (sound / "out" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["missing", "truncated", "of other bytes"])
def test_a_build_with_damaged_shards_is_not_finished(damage: str, sound: Path, out: Path) -> None:
    (out / "_SUCCESS").unlink()
    shard = out / "shards" / "000001.tar"
    whole = shard.read_bytes()
    shard.unlink()
    if damage != "missing":
        shard.write_bytes(whole[:700] if damage == "truncated" else whole[:-1] + b"x")
    with pytest.raises(BuildError) as caught:
        finish(str(out), read_plan(str(out)))
    assert caught.value.file == str(shard)
    assert str(len(whole)) in caught.value.expected
    assert f"dentgen repair {out}" in caught.value.advice
    assert not (out / "_SUCCESS").exists()
    assert repair(str(out), use_ray=False).left == ()
    assert shard_bytes(out) == shard_bytes(sound / "out")


def test_a_sound_build_is_left_alone(out: Path) -> None:
    before = times(out)
    assert repair(str(out), use_ray=False).problems == ()
    assert times(out) == before


@pytest.mark.integration
def test_a_moved_source_can_be_named(sound: Path, out: Path, tmp_path: Path) -> None:
    (tmp_path / "conditions").rename(tmp_path / "moved")
    (out / "shards" / "000000.tar").unlink()
    with pytest.raises(BuildError) as caught:
        repair(str(out), use_ray=False)
    assert "--source" in caught.value.advice
    assert repair(str(out), str(tmp_path / "moved"), use_ray=False).left == ()
    assert shard_bytes(out) == shard_bytes(sound / "out")


def test_a_changed_source_is_refused_and_nothing_is_put(
    sound: Path, out: Path, tmp_path: Path, demo_members: dict[str, dict[str, bytes]]
) -> None:
    """A source of the same size and other content gives other bytes than those committed."""
    source = shutil.copytree(sound / "conditions", tmp_path / "changed") / "a.tar"
    whole = source.read_bytes()
    assert whole.count(b"a photo of") > 0
    source.write_bytes(whole.replace(b"a photo of", b"a sketch o"))
    (out / "shards" / "000000.tar").unlink()
    with pytest.raises(BuildError) as caught:
        repair(str(out), str(tmp_path / "changed"), use_ray=False)
    committed = read_ledger(str(out), "000000").sha256
    assert all(fact in str(caught.value) for fact in ("unit 000000", committed))
    assert not (out / "shards" / "000000.tar").exists()


@pytest.mark.integration
def test_a_lost_record_lets_no_other_bytes_in(sound: Path, out: Path, tmp_path: Path) -> None:
    """The index of the sealed build still knows what was committed."""
    source = shutil.copytree(sound / "conditions", tmp_path / "changed") / "a.tar"
    source.write_bytes(source.read_bytes().replace(b"a photo of", b"a sketch o"))
    committed = digest_of((out / "shards" / "000000.tar").read_bytes())
    for lost in ("ledger/000000.json", "index.json"):
        (out / lost).unlink()
        with pytest.raises(BuildError) as caught:
            repair(str(out), str(tmp_path / "changed"), use_ray=False)
        assert all(fact in str(caught.value) for fact in ("unit 000000", committed))
        assert shard_bytes(out) == shard_bytes(sound / "out")
    assert repair(str(out), use_ray=False).left == ()
    assert problems(out) == []


@pytest.mark.integration
def test_a_record_with_a_damaged_hash_is_restored_from_the_index(sound: Path, out: Path) -> None:
    record = out / "ledger" / "000001.json"
    whole = record.read_bytes()
    sha256 = read_ledger(str(out), "000001").sha256
    record.write_bytes(whole.replace(sha256.encode(), b"0" * 64))
    assert repair(str(out), use_ray=False).left == ()
    assert read_ledger(str(out), "000001").sha256 == sha256
    assert shard_bytes(out) == shard_bytes(sound / "out")


def test_a_damaged_plan_is_an_error_that_names_it(out: Path) -> None:
    head = out / "plan" / "000000.json"
    head.write_text("{")
    (out / "versions" / "0" / "plan.json").unlink()
    with pytest.raises(BuildError) as caught:
        repair(str(out), use_ray=False)
    assert caught.value.file == str(head)


@pytest.mark.parametrize("what", ["torch", "bundle digest"])
def test_another_environment_or_bundle_is_refused(what: str, out: Path) -> None:
    (out / "shards" / "000000.tar").unlink()
    plan = read_plan(str(out))
    if what == "torch":
        rewrite_plan(out, environment={**plan.environment, "torch": "1.0"})
    else:
        rewrite_plan(out, bundle_digest="f" * 64)
    with pytest.raises(SpecChangedError) as caught:
        repair(str(out), use_ray=False)
    assert f"{what}: " in caught.value.message
    assert not (out / "shards" / "000000.tar").exists()
