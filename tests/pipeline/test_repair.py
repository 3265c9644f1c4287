"""Repair restores exactly what was damaged, to equal bytes; gc names exactly what nobody accounts for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dentgen.errors import BuildError, DeterminismError, SpecChangedError
from dentgen.pipeline.repair import repair
from dentgen.pipeline.run import build, finish
from dentgen.shards.gc import remove_files, stray_files
from dentgen.shards.ledger import read_ledger
from dentgen.shards.plan_file import plan_files, plan_url, read_plan
from dentgen.shards.tar import json_bytes
from tests.conftest import problems, shard_bytes, small_spec


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, demo_members: dict[str, dict[str, bytes]]) -> Path:
    """A finished build of three units."""
    from tests.conftest import write_tar

    folder = tmp_path_factory.mktemp("sound")
    keys = sorted(demo_members)[:5]
    write_tar(folder / "conditions" / "a.tar", {key: demo_members[key] for key in keys})
    build(small_spec(folder / "conditions", folder / "out"), use_ray=False)
    return folder


@pytest.fixture
def out(sound: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound / "out", tmp_path / "out")
    return tmp_path / "out"


def times(out: Path) -> dict[str, int]:
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in (out / "shards").iterdir()}


def test_a_deleted_shard_and_a_flipped_byte_are_restored_and_nothing_else_is_touched(sound: Path, out: Path) -> None:
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


def test_damaged_and_missing_ledger_records_are_restored(sound: Path, out: Path) -> None:
    (out / "ledger" / "000000.json").write_text("{")
    (out / "ledger" / "000001.json").unlink()
    assert repair(str(out), use_ray=False).units == (0, 1)
    assert problems(out) == []
    assert shard_bytes(out) == shard_bytes(sound / "out")


@pytest.mark.parametrize("name", ["index.json", "versions/0/index.json", "samples.parquet", "_SUCCESS"])
def test_what_is_derived_is_derived_again(name: str, sound: Path, out: Path) -> None:
    (out / name).unlink()
    outcome = repair(str(out), use_ray=False)
    assert (outcome.units, outcome.left) == ((), ())
    assert (out / name).read_bytes() == (sound / "out" / name).read_bytes()


@pytest.mark.parametrize("damage", ["gone", "cut off", "of other bytes"])
def test_a_build_whose_shards_were_damaged_is_not_said_to_be_done(damage: str, sound: Path, out: Path) -> None:
    (out / "_SUCCESS").unlink()
    shard = out / "shards" / "000001.tar"
    whole = shard.read_bytes()
    shard.unlink()
    if damage != "gone":
        shard.write_bytes(whole[:700] if damage == "cut off" else whole[:-1] + b"x")
    with pytest.raises(BuildError, match=rf"000001\.tar: found .*, expected {len(whole)}.*'dentgen repair {out}'"):
        finish(str(out), read_plan(str(out)))
    assert not (out / "_SUCCESS").exists()
    assert repair(str(out), use_ray=False).left == ()
    assert shard_bytes(out) == shard_bytes(sound / "out")


def test_what_is_not_whole_is_not_sealed(out: Path) -> None:
    """A unit that is not done, and a planned sample that is neither written nor rejected."""
    plan, place = read_plan(str(out)), out / "ledger" / "000001.json"
    whole = read_ledger(str(out), "000001")
    place.write_bytes(json_bytes(whole.model_copy(update={"samples": whole.samples[1:]}).model_dump(mode="json")))
    with pytest.raises(BuildError, match="planned 10 samples, but the ledger has 9 written and 0 rejected"):
        finish(str(out), plan)
    place.unlink()
    with pytest.raises(BuildError, match="1 of 3 units are not done, first 000001"):
        finish(str(out), plan)


def test_a_sound_build_is_left_alone(out: Path) -> None:
    before = times(out)
    assert repair(str(out), use_ray=False).problems == ()
    assert times(out) == before


def test_a_moved_source_can_be_named(sound: Path, out: Path, tmp_path: Path) -> None:
    shutil.copytree(sound / "conditions", tmp_path / "moved")
    (out / "shards" / "000000.tar").unlink()
    plan = read_plan(str(out))
    spec = {**plan.spec, "source": {**plan.spec["source"], "path": str(tmp_path / "gone")}}
    Path(plan_url(str(out))).write_bytes(json_bytes(plan.model_copy(update={"spec": spec}).model_dump(mode="json")))
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
    with pytest.raises(BuildError, match="unit 000000: committed with sha256"):
        repair(str(out), str(tmp_path / "changed"), use_ray=False)
    assert not (out / "shards" / "000000.tar").exists()
    assert issubclass(DeterminismError, BuildError)


def test_a_lost_record_does_not_let_other_bytes_in(sound: Path, out: Path, tmp_path: Path) -> None:
    """The index of the sealed build still knows what was committed."""
    source = shutil.copytree(sound / "conditions", tmp_path / "changed") / "a.tar"
    source.write_bytes(source.read_bytes().replace(b"a photo of", b"a sketch o"))
    for lost in ("ledger/000000.json", "index.json"):
        (out / lost).unlink()
        with pytest.raises(BuildError, match="as the index says"):
            repair(str(out), str(tmp_path / "changed"), use_ray=False)
        assert shard_bytes(out) == shard_bytes(sound / "out")
    assert repair(str(out), use_ray=False).left == ()
    assert problems(out) == []


def test_a_record_with_a_damaged_hash_is_told_by_the_index(sound: Path, out: Path) -> None:
    record = out / "ledger" / "000001.json"
    whole = record.read_bytes()
    sha256 = read_ledger(str(out), "000001").sha256
    record.write_bytes(whole.replace(sha256.encode(), b"0" * 64))
    assert repair(str(out), use_ray=False).left == ()
    assert read_ledger(str(out), "000001").sha256 == sha256
    assert shard_bytes(out) == shard_bytes(sound / "out")


def test_a_damaged_plan_is_named(out: Path) -> None:
    Path(plan_url(str(out))).write_text("{")
    with pytest.raises(BuildError, match=r"plan/000000\.json: found no readable plan"):
        problems(out)


def test_another_environment_is_refused(out: Path) -> None:
    (out / "shards" / "000000.tar").unlink()
    plan = read_plan(str(out))
    other = plan.model_copy(update={"environment": {**plan.environment, "torch": "1.0"}})
    Path(plan_url(str(out))).write_bytes(json_bytes(other.model_dump(mode="json")))
    with pytest.raises(SpecChangedError, match=r"environment|torch"):
        repair(str(out), use_ray=False)


def strays(out: Path) -> list[str]:
    return [Path(file.url).name for file in stray_files(str(out), read_plan(str(out)), plan_files())]


def test_gc_names_strays_and_removes_only_them(sound: Path, out: Path) -> None:
    assert strays(out) == []
    for name in ("shards/000009.tar", "shards/.000001.tar.abc.tmp", "orphans/000001-ff.tar", "ledger/000009.json", "x"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(b"stray")
    assert sorted(strays(out)) == sorted(["000009.tar", ".000001.tar.abc.tmp", "000001-ff.tar", "000009.json", "x"])
    remove_files(stray_files(str(out), read_plan(str(out)), plan_files()))
    assert strays(out) == []
    assert problems(out) == []
    assert shard_bytes(out) == shard_bytes(sound / "out")


def test_gc_refuses_an_unfinished_build(out: Path) -> None:
    """A shard whose record is about to be written looks like a stray."""
    (out / "ledger" / "000001.json").unlink()
    with pytest.raises(BuildError, match="finish the build first"):
        strays(out)
