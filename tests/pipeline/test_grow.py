"""Growth: new condition shards become a segment and a version, and nothing of earlier ones changes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dentgen.documents.index import DatasetIndex
from dentgen.errors import BuildError, NothingWrittenError, SpecChangedError, StorageError
from dentgen.pipeline import finish as finishing
from dentgen.pipeline import run
from dentgen.pipeline.repair import repair
from dentgen.pipeline.run import build
from dentgen.pipeline.verify import verify
from dentgen.shards.dataset import open_dataset
from dentgen.shards.gc import stray_files
from dentgen.shards.index_reader import read_index
from dentgen.shards.ledger import read_ledgers
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import read_plan
from dentgen.shards.seals import newest_sealed
from dentgen.shards.standing import BuildWatch, Standing
from dentgen.spec.build import BuildSpec
from tests.conftest import write_tar
from tests.pipeline.growing import Members, add_shard, files, grow, growing_spec, without_a_model

pytestmark = pytest.mark.usefixtures("_no_model")


@pytest.fixture
def _no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    without_a_model(monkeypatch)


@pytest.fixture
def source(tmp_path: Path, demo_members: Members) -> Path:
    """Two condition shards of two records each."""
    add_shard(tmp_path / "in", "b", demo_members, 0)
    add_shard(tmp_path / "in", "d", demo_members, 2)
    return tmp_path / "in"


@pytest.fixture
def spec(source: Path, tmp_path: Path) -> BuildSpec:
    return growing_spec(source, tmp_path / "out")


def sealed(out: Path, version: int) -> DatasetIndex:
    return read_index(str(out), f"versions/{version}/index.json")


def keys(out: Path, version: int | None = None) -> set[str]:
    return {str(sample["key"]) for sample in open_dataset(str(out), version=version)}


def test_new_shards_become_a_version_and_nothing_of_the_first_changes(
    spec: BuildSpec, source: Path, tmp_path: Path, demo_members: Members
) -> None:
    out = tmp_path / "out"
    assert grow(spec).index.version == 0
    before = files(out, "plan", "shards", "ledger", "versions")
    first = keys(out)
    add_shard(source, "a", demo_members, 4)  # sorts before those that were planned
    add_shard(source, "c", demo_members, 6, 3)
    outcome = grow(spec)
    assert (outcome.index.version, outcome.made, outcome.already) == (1, 3, False)
    plan = read_plan(str(out))
    assert (plan.segment, plan.firsts, plan.total_units) == (1, (0, 2), 5)
    assert [(unit.id, unit.shard) for unit in plan.units] == [
        (0, "b.tar"), (1, "d.tar"), (2, "a.tar"), (3, "c.tar"), (4, "c.tar"),
    ]  # fmt: skip
    assert {name: content for name, content in files(out).items() if name in before} == before
    assert keys(out, 0) == first < keys(out, 1) == keys(out)
    assert outcome.index.planned == outcome.index.written + outcome.index.rejected == 18
    assert read_index(str(out)) == sealed(out, 1) == outcome.index
    assert list(verify(str(out))) == []
    assert stray_files(str(out), plan) == []


def test_a_run_without_anything_new_touches_nothing(spec: BuildSpec, tmp_path: Path) -> None:
    first = grow(spec)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    again = grow(spec)
    assert (again.already, again.made, again.index) == (True, 0, first.index)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_units_have_the_bytes_that_they_have_in_a_build_of_their_own(
    spec: BuildSpec, source: Path, tmp_path: Path, demo_members: Members
) -> None:
    """Where the numbering is the same: a build of both shards at once."""
    grow(spec)
    add_shard(source, "e", demo_members, 4)
    grow(spec)
    grow(growing_spec(source, tmp_path / "whole"))
    assert files(tmp_path / "out", "shards") == files(tmp_path / "whole", "shards")
    assert files(tmp_path / "out", "ledger") == files(tmp_path / "whole", "ledger")
    assert files(tmp_path / "out", "samples.parquet") == files(tmp_path / "whole", "samples.parquet")


class KilledError(BaseException):
    """Stands for a kill."""


KILLS = (
    "grow_plan", "make_units", "write_version", "describe_version", "write_seal", "publish_table",
    "publish_description", "write_contact_sheet", "write_report", "publish_index", "mark_success",
)  # fmt: skip


@pytest.mark.parametrize(
    "step", [step if step in KILLS[::5] else pytest.param(step, marks=pytest.mark.slow) for step in KILLS]
)
def test_growth_that_was_killed_gives_equal_bytes_and_readers_see_no_mixture(
    step: str, spec: BuildSpec, source: Path, tmp_path: Path, demo_members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    grow(spec)
    first, index = keys(out), (out / "index.json").read_bytes()
    add_shard(source, "e", demo_members, 4)
    add_shard(source, "f", demo_members, 6)
    module = run if step in {"grow_plan", "make_units"} else finishing
    work = getattr(module, step)

    def killed(*arguments: object, **named: object) -> None:
        if step in {"grow_plan", "make_units", "write_version", "publish_index"}:
            work(*arguments, **named)
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(module, step, killed)
        with pytest.raises(KilledError):
            grow(spec)
    if step not in {"publish_index", "mark_success"}:
        assert (out / "index.json").read_bytes() == index
        assert keys(out) == first
    assert keys(out, 0) == first
    assert grow(spec).index.version == 1
    grow(growing_spec(source, tmp_path / "whole"))
    assert files(out, "shards", "ledger", "samples") == files(tmp_path / "whole", "shards", "ledger", "samples")
    assert list(verify(str(out))) == []
    assert newest_sealed(str(out)) == 1


def test_pending_units_are_made_before_new_shards_are_planned(
    spec: BuildSpec, source: Path, tmp_path: Path, demo_members: Members
) -> None:
    """A plan that was drafted while the source grew goes on."""
    grow(spec)
    (tmp_path / "out" / "ledger" / "000001.json").unlink()
    (tmp_path / "out" / "_SUCCESS").unlink()
    add_shard(source, "e", demo_members, 4)
    outcome = grow(spec)
    assert (outcome.index.version, outcome.made) == (1, 2)
    assert sealed(tmp_path / "out", 0).written == 8


def changed_shard(source: Path, members: Members) -> None:
    """The shard ``d`` with three other records."""
    add_shard(source, "d", members, 8, 3)
    os.utime(source / "d.tar", (1, 1))


@pytest.mark.parametrize("what", ["changed", "gone"])
def test_a_shard_that_changed_is_refused_by_name(
    what: str, spec: BuildSpec, source: Path, tmp_path: Path, demo_members: Members
) -> None:
    grow(spec)
    before = files(tmp_path / "out")
    changed_shard(source, demo_members) if what == "changed" else (source / "d.tar").unlink()
    add_shard(source, "e", demo_members, 4)
    with pytest.raises(SpecChangedError) as caught:
        grow(spec)
    assert caught.value.key == "d.tar"
    assert "--on-changed" in caught.value.advice
    assert files(tmp_path / "out") == before


def test_a_copied_source_is_known_and_read_once(
    spec: BuildSpec, source: Path, tmp_path: Path, demo_members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(spec)
    add_shard(source, "e", demo_members, 4)
    grow(spec)
    for shard in source.iterdir():
        os.utime(shard, (1, 1))
    assert grow(spec).already
    monkeypatch.setattr("dentgen.pipeline.source_changes.has_content", None)  # which would read it
    assert grow(spec).already
    assert list(verify(str(tmp_path / "out"))) == []


def test_skipping_keeps_what_was_built(
    spec: BuildSpec, source: Path, tmp_path: Path, demo_members: Members, caplog: pytest.LogCaptureFixture
) -> None:
    grow(spec)
    first = keys(tmp_path / "out")
    changed_shard(source, demo_members)
    (source / "b.tar").unlink()
    assert grow(spec, on_changed="skip").already
    add_shard(source, "e", demo_members, 4)
    caplog.clear()
    outcome = grow(spec, on_changed="skip")
    assert (outcome.index.version, outcome.made) == (1, 1)
    assert first < keys(tmp_path / "out")
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [name for name in ("b.tar", "d.tar") if any(name in text for text in warnings)] == ["b.tar", "d.tar"]
    with pytest.raises(SpecChangedError):
        grow(spec)


def test_rebuilding_retires_units_of_which_earlier_versions_keep_the_bytes(
    spec: BuildSpec, source: Path, tmp_path: Path, demo_members: Members
) -> None:
    out = tmp_path / "out"
    grow(spec)
    first, before = keys(out), files(out, "shards", "ledger", "versions")
    changed_shard(source, demo_members)
    outcome = grow(spec, on_changed="rebuild-as-new")
    plan = read_plan(str(out))
    assert (plan.retires, plan.total_units, plan.units.ids.tolist()) == (((), (1,)), 4, [0, 2, 3])
    assert json.loads((out / "plan" / "000001.json").read_bytes())["retires"] == [1]
    assert (outcome.index.version, outcome.made) == (1, 2)
    assert outcome.index.planned == outcome.index.written + outcome.index.rejected == plan.planned == 10
    assert [shard.name for shard in outcome.index.shards] == ["000000.tar", "000002.tar", "000003.tar"]
    assert keys(out, 0) == first
    assert len(keys(out) & first) == 4
    assert {name: content for name, content in files(out).items() if name in before} == before
    assert list(verify(str(out))) == []
    assert stray_files(str(out), plan) == []
    assert grow(spec).already, "the changed shard is the known one now"
    assert '"version": "2.1.0"' in (out / "croissant.json").read_text()


@pytest.mark.slow
def test_rebuilding_leaves_out_a_shard_that_is_gone_and_takes_it_anew_when_it_returns(
    spec: BuildSpec, source: Path, tmp_path: Path, demo_members: Members
) -> None:
    out = tmp_path / "out"
    grow(spec)
    first, whole = keys(out), (source / "d.tar").read_bytes()
    (source / "d.tar").unlink()
    outcome = grow(spec, on_changed="rebuild-as-new")
    assert (outcome.index.version, outcome.made, outcome.index.planned) == (1, 0, 4)
    assert keys(out) < first
    assert list(verify(str(out))) == []
    assert grow(spec).already
    (source / "d.tar").write_bytes(whole)
    assert grow(spec).index.version == 2
    assert keys(out) == first, "keys of retired units are free"
    assert list(verify(str(out))) == []


def test_pending_units_of_a_changed_shard_are_refused_whatever_was_chosen(
    spec: BuildSpec, source: Path, tmp_path: Path, demo_members: Members
) -> None:
    grow(spec)
    (tmp_path / "out" / "ledger" / "000001.json").unlink()
    changed_shard(source, demo_members)
    for choice in ("refuse", "skip", "rebuild-as-new"):
        with pytest.raises(SpecChangedError) as caught:
            build(spec, use_ray=False, on_changed=choice)
        assert caught.value.key == "d.tar"
        assert "pending" in caught.value.advice


@pytest.mark.slow
def test_nothing_left_is_an_error(spec: BuildSpec, source: Path, demo_members: Members) -> None:
    grow(spec)
    for name in ("b", "d"):
        (source / f"{name}.tar").unlink()
    add_shard(source, "e", demo_members, 4)
    assert grow(spec, on_changed="rebuild-as-new").index.planned == 4
    (source / "e.tar").unlink()
    (source / "f.tar").write_bytes(b"")
    with pytest.raises(BuildError) as caught:
        grow(spec, on_changed="rebuild-as-new")
    assert "f.tar" in caught.value.found, "which cannot be read"


def torn_shard(source: Path, name: str, members: Members, first: int, count: int = 2) -> None:
    """A shard of records that are all rejected, in place of one that there may be."""
    torn = {key: {**members[key], "seg.png": b"torn"} for key in sorted(members)[first : first + count]}
    os.utime(write_tar(source / f"{name}.tar", torn), (1, 1))


@pytest.mark.integration
def test_a_build_of_which_nothing_is_left_goes_on_with_new_shards(
    spec: BuildSpec, source: Path, tmp_path: Path, demo_members: Members
) -> None:
    """Until then it seals nothing, and the version before stands."""
    out = tmp_path / "out"
    grow(spec)
    first = keys(out)
    for number, name in enumerate("bd"):
        torn_shard(source, name, demo_members, 4 + 2 * number)
    for _ in range(2):
        with pytest.raises(NothingWrittenError) as caught:
            grow(spec, tick="monday", on_changed="rebuild-as-new")
        assert caught.value.file == str(out)
        assert "8 rejected" in caught.value.found
        assert sorted(path.name for path in (out / "versions").iterdir()) == ["0"]
        assert keys(out) == first
    add_shard(source, "e", demo_members, 0)
    outcome = grow(spec, tick="monday")
    assert (outcome.index.version, outcome.index.written, outcome.index.rejected) == (2, 4, 8)
    assert sorted(path.name for path in (out / "versions").iterdir()) == ["0", "2"]
    assert keys(out, 0) == first > keys(out)
    assert list(verify(str(out))) == []
    assert grow(spec, tick="monday").replayed
    (out / "index.json").unlink()
    assert repair(str(out), use_ray=False).left == ()
    (out / "versions" / "0" / "seal.json").unlink()
    assert [problem.place for problem in verify(str(out))] == ["versions/0/seal.json"]


def test_a_key_that_an_earlier_segment_has_is_a_duplicate(
    spec: BuildSpec, source: Path, tmp_path: Path, demo_members: Members
) -> None:
    out = tmp_path / "out"
    grow(spec)
    add_shard(source, "e", demo_members, 3, 2)  # the last of ``d``, and a new one
    outcome = grow(spec)
    (unit,) = read_plan(str(out)).newest_units
    assert unit.duplicates == (0,)
    assert (outcome.index.written, outcome.index.rejected) == (10, 2)
    (record,) = read_ledgers(str(out), [unit.name])
    assert {sample.reason != "" for sample in record.samples if sample.status == "rejected"} == {True}
    assert list(verify(str(out))) == []
    add_shard(source, "f", demo_members, 4, 1)  # of the segment in between
    assert grow(spec).index.rejected == 4


def test_a_record_takes_the_key_of_a_retired_one_even_if_a_duplicate_was_rejected(
    spec: BuildSpec, source: Path, tmp_path: Path, demo_members: Members
) -> None:
    out = tmp_path / "out"
    grow(spec)
    add_shard(source, "e", demo_members, 2, 1)  # the first of ``d`` once more
    assert grow(spec).index.rejected == 2
    before = keys(out)
    members = {key: dict(demo_members[key]) for key in sorted(demo_members)[2:4]}
    for each in members.values():
        each["json"] = json.dumps({**json.loads(each["json"]), "prompt": "another"}).encode()
    write_tar(source / "d.tar", members)
    os.utime(source / "d.tar", (1, 1))
    assert grow(spec, on_changed="rebuild-as-new").index.version == 2
    assert keys(out) == before


def test_a_watcher_sees_growth_and_its_end_no_earlier(
    spec: BuildSpec, source: Path, demo_members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the mark of the version before nor the last commit record is the end."""
    grow(spec)
    watch, finish, seen = BuildWatch(spec.output.path), finishing.finish, list[Standing | None]()
    first = watch.look()
    add_shard(source, "e", demo_members, 4)

    def watched(out: str, plan: Plan, *, tick: str = "") -> tuple[DatasetIndex, str]:
        seen.append(watch.look())
        return finish(out, plan, tick=tick)

    monkeypatch.setattr(run, "finish", watched)
    grow(spec)
    (made,), after = seen, watch.look()
    assert first is not None
    assert made is not None
    assert after is not None
    assert made.units == made.units_done > first.units
    assert (first.finished, made.finished, after.finished) == (True, False, True)


def test_a_tick_whose_growth_fails_was_not_completed(
    spec: BuildSpec, source: Path, demo_members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sealed what had been pending, which must not count as its end."""
    out = Path(spec.output.path)
    grow(spec)
    for file in (out / "index.json", out / "versions" / "0" / "seal.json"):  # version 0 has yet to be sealed
        file.unlink()
    add_shard(source, "e", demo_members, 4, 2)

    def fails(*_: object) -> None:
        raise BuildError("planted", key="growth", found="a fault", expected="none")

    monkeypatch.setattr(run, "grow_plan", fails)
    with pytest.raises(BuildError):
        grow(spec, tick="monday")
    assert (out / "versions" / "0" / "seal.json").exists()
    monkeypatch.undo()
    without_a_model(monkeypatch)
    outcome = grow(spec, tick="monday")
    assert (outcome.replayed, outcome.index.version) == (False, 1)
    assert grow(spec, tick="monday").replayed


@pytest.mark.slow
def test_the_limit_counts_records_of_all_segments(source: Path, tmp_path: Path, demo_members: Members) -> None:
    spec = growing_spec(source, tmp_path / "out", source={"limit": 5})
    assert grow(spec).index.planned == 8
    add_shard(source, "e", demo_members, 4, 3)
    assert grow(spec).index.planned == 10
    add_shard(source, "f", demo_members, 8)
    assert grow(spec).already
    assert list(verify(str(tmp_path / "out"))) == []


def split_members(members: Members) -> tuple[Members, Members]:
    """Records of the split ``train``, and the others."""
    splits = {key: json.loads(one["json"]).get("split", "") for key, one in members.items()}
    train = {key: members[key] for key, split in splits.items() if split == "train"}
    return train, {key: one for key, one in members.items() if key not in train}


@pytest.mark.slow
def test_new_shards_of_another_split_make_no_version_and_are_read_once(
    source: Path, tmp_path: Path, demo_members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, others = split_members(demo_members)
    for shard in source.iterdir():
        shard.unlink()
    add_shard(source, "a", train, 0)
    spec = growing_spec(source, tmp_path / "out", source={"split": "train"})
    grow(spec)
    add_shard(source, "b", others, 0, 1)
    assert grow(spec).already
    monkeypatch.setattr("dentgen.pipeline.grow.index_source", None)
    assert grow(spec).already
    assert list(verify(str(tmp_path / "out"))) == []


@pytest.mark.parametrize("what", ["changed", "gone"])
@pytest.mark.parametrize("limit", [None, 2])
def test_a_shard_without_a_unit_is_settled_without_a_version(
    what: str, limit: int | None, source: Path, tmp_path: Path, demo_members: Members
) -> None:
    out = tmp_path / "out"
    train, others = split_members(demo_members)
    for shard in source.iterdir():
        shard.unlink()
    add_shard(source, "a", others, 0, 1)
    add_shard(source, "b", train, 0)
    spec = growing_spec(source, out, source={"split": "train", "limit": limit})
    grow(spec)
    segments = files(out, "plan/0")
    if what == "changed":
        os.utime(add_shard(source, "a", others, 1, 1), (1, 1))
    else:
        (source / "a.tar").unlink()
    with pytest.raises(SpecChangedError) as caught:
        grow(spec)
    assert caught.value.key == "a.tar"
    assert grow(spec, on_changed="rebuild-as-new").already
    assert grow(spec).already, "it is the known one now"
    assert files(out, "plan/0") == segments
    assert list(verify(str(out))) == []
    os.utime(add_shard(source, "a", others, 0, 2), (2, 2))
    assert grow(spec, on_changed="rebuild-as-new").already
    assert grow(spec).already
    assert list(verify(str(out))) == []


def test_another_spec_is_refused_with_every_difference(source: Path, tmp_path: Path, demo_members: Members) -> None:
    grow(growing_spec(source, tmp_path / "out"))
    add_shard(source, "e", demo_members, 4)
    with pytest.raises(SpecChangedError) as caught:
        grow(growing_spec(source, tmp_path / "out", sampling={"seed": 6}))
    assert "sampling.seed: 5 -> 6" in caught.value.message
    assert not (tmp_path / "out" / "plan" / "000001.json").exists()


@pytest.mark.slow
def test_a_lost_index_of_the_source_is_made_again(
    spec: BuildSpec, source: Path, tmp_path: Path, demo_members: Members
) -> None:
    out = tmp_path / "out"
    grow(spec)
    add_shard(source, "e", demo_members, 4)
    grow(spec)
    stored = files(out, "plan")
    for name in ("source.parquet", "000001.source.parquet"):
        (out / "plan" / name).unlink()
    assert grow(spec).already
    assert {problem.place for problem in verify(str(out))} == {"plan/source.parquet", "plan/000001.source.parquet"}
    add_shard(source, "f", demo_members, 5)  # one of its keys is that of ``e``
    assert grow(spec).index.rejected == 2
    assert {name: files(out, "plan")[name] for name in stored} == stored
    (out / "plan" / "source.parquet").write_bytes(b"PAR1")
    assert repair(str(out), use_ray=False).left == ()
    assert files(out, "plan/source.parquet") == {"plan/source.parquet": stored["plan/source.parquet"]}


@pytest.mark.slow
def test_keys_that_are_lost_with_their_source_are_an_error(
    spec: BuildSpec, source: Path, tmp_path: Path, demo_members: Members
) -> None:
    grow(spec)
    (tmp_path / "out" / "plan" / "source.parquet").unlink()
    (source / "d.tar").unlink()
    add_shard(source, "e", demo_members, 4)
    with pytest.raises(StorageError) as caught:
        grow(spec, on_changed="skip")
    assert caught.value.file == str(tmp_path / "out" / "plan" / "source.parquet")


@pytest.mark.slow
def test_damaged_segments_are_named_and_put_back(
    spec: BuildSpec, source: Path, tmp_path: Path, demo_members: Members
) -> None:
    out = tmp_path / "out"
    grow(spec)
    for number, name in enumerate("ef"):
        add_shard(source, name, demo_members, 4 + 2 * number)
        grow(spec)
    before = files(out, "plan")
    (out / "plan" / "000001.json").unlink()
    with pytest.raises(BuildError) as caught:
        grow(spec)
    assert caught.value.file == str(out / "plan" / "000001.json")
    (out / "plan" / "000002.units.parquet").write_bytes(b"PAR1")
    assert {problem.place for problem in verify(str(out))} == {
        "plan/000001.json", "plan/000002.json", "versions/2/plan.units.parquet",
    }  # fmt: skip
    assert repair(str(out), use_ray=False).left == ()
    assert files(out, "plan") == before


@pytest.mark.slow
def test_splits_are_those_of_the_records_and_stay_as_a_dataset_grows(
    spec: BuildSpec, source: Path, tmp_path: Path, demo_members: Members
) -> None:
    out = tmp_path / "out"

    def splits() -> dict[str, str]:
        samples = (json.loads(sample["metadata"]) for sample in open_dataset(str(out)))
        return {sample["group"]: sample["split"] for sample in samples}

    grow(spec)
    first = splits()
    add_shard(source, "e", demo_members, 4, 6)
    grow(spec)
    assert first.items() <= splits().items()
    assert len(set(splits().values())) > 1
    for split in set(splits().values()):
        for version in (0, 1):
            shards = {shard.name for shard in sealed(out, version).shards if split in shard.splits}
            if shards:
                found = open_dataset(str(out), split, version=version)
                assert {shard.name for shard in found.shards} == shards
                assert len(list(found)) == found.num_samples


@pytest.mark.slow
def test_what_an_earlier_version_keeps_is_mended(
    spec: BuildSpec, source: Path, tmp_path: Path, demo_members: Members
) -> None:
    out = tmp_path / "out"
    grow(spec)
    changed_shard(source, demo_members)
    grow(spec, on_changed="rebuild-as-new")
    before = files(out)
    (out / "versions" / "0" / "index.json").write_bytes(b"{}")
    assert [problem.place for problem in verify(str(out))] == ["versions/0/index.json"]
    for name in ("index.json", "ledger.parquet", "seal.json"):
        (out / "versions" / "0" / name).write_bytes(b"PAR1")
    assert {problem.place for problem in verify(str(out))} == {
        "versions/0/seal.json", "versions/0/ledger.parquet",
    }  # fmt: skip
    assert repair(str(out), use_ray=False).left == ()
    after = files(out)
    seals = [json.loads(content.pop("versions/0/seal.json")) | {"sealed": 0} for content in (before, after)]
    assert seals[0] == seals[1]
    assert after == before
