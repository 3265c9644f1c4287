"""The stored plan: read as written, damage is named, and no interrupted or concurrent write breaks it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from dentgen import storage
from dentgen.documents.units import Unit
from dentgen.errors import BuildError, StorageError
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import plan_head, read_plan, sealed_plan, write_plan
from dentgen.shards.tar import json_bytes
from dentgen.shards.unit_table import UnitTable
from dentgen.spec.build import BuildSpec
from tests.report.fake_builds import fake_build, rejected, written

UNITS = tuple(Unit(id=n, shard="a.tar", start=n, stop=n + 1, records=1, shard_bytes=9) for n in range(2))
PLAN = Plan(
    segment=0, spec=BuildSpec.model_validate({"sampling": {"variants": 4}}), spec_digest="s", bundle_digest="b",
    environment={"device": "cpu"}, units=UnitTable.of(UNITS), bundle_licenses=("mit",),
)  # fmt: skip
OTHER = replace(PLAN, units=UnitTable.of(UNITS[:1]))

HEAD = Path("plan", "000000.json")
TABLE = Path("plan", "000000.units.parquet")

DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "a spec that is none": lambda head: head["spec"]["sampling"].update(steps=-1),
    "no variants": lambda head: head["spec"].pop("sampling"),
    "fewer than no units": lambda head: head.update(num_units=-1),
    "no hash of the units": lambda head: head.pop("units_sha256"),
    "a name that no terminal shows": lambda head: head.update({"\x1b[31m": 1}),
    "many things": lambda head: head["environment"].update({str(n): n for n in range(50)}),
}


def rewrite_head(out: Path, change: Callable[[dict[str, Any]], object]) -> None:
    head = json.loads((out / HEAD).read_bytes())
    change(head)
    (out / HEAD).write_bytes(json_bytes(head))


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert write_plan(str(tmp_path), PLAN)
    assert read_plan(str(tmp_path)) == PLAN
    assert (tmp_path / HEAD).read_bytes() == plan_head(PLAN, (tmp_path / TABLE).read_bytes())


def test_a_prompt_may_say_anything(tmp_path: Path) -> None:
    """Text of the spec is never taken for structure of the file."""
    sampling = PLAN.spec.sampling.model_copy(update={"prompt": 'units of this plan": [}\n"units": "'})
    plan = replace(PLAN, spec=PLAN.spec.model_copy(update={"sampling": sampling}))
    write_plan(str(tmp_path), plan)
    assert read_plan(str(tmp_path)) == plan


def test_keys_that_an_older_spec_lacks_take_their_defaults(tmp_path: Path) -> None:
    write_plan(str(tmp_path), PLAN)
    rewrite_head(tmp_path, lambda head: head["spec"]["output"].pop("image_format"))
    assert read_plan(str(tmp_path)) == PLAN


def test_licenses_are_covered_by_the_digest_and_plans_without_any_keep_theirs() -> None:
    bare = replace(PLAN, bundle_licenses=())
    decided = (0, "s", "b", {"device": "cpu"}, bare.units.digest())
    assert bare.digest() == hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()
    assert PLAN.digest() != bare.digest()


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_head_is_an_error_that_names_it(case: str, tmp_path: Path) -> None:
    write_plan(str(tmp_path), PLAN)
    rewrite_head(tmp_path, DAMAGE[case])
    with pytest.raises(BuildError) as caught:
        read_plan(str(tmp_path))
    assert caught.value.file == str(tmp_path / HEAD)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_damaged_units_are_an_error_that_names_them(tmp_path: Path) -> None:
    write_plan(str(tmp_path), PLAN)
    content = (tmp_path / TABLE).read_bytes()
    (tmp_path / TABLE).write_bytes(content[:-1] + b"x")
    with pytest.raises(BuildError) as caught:
        read_plan(str(tmp_path))
    assert caught.value.file == str(tmp_path / TABLE)
    assert hashlib.sha256(content).hexdigest() in caught.value.expected
    (tmp_path / TABLE).unlink()
    with pytest.raises(BuildError) as caught:
        read_plan(str(tmp_path))
    assert caught.value.file == str(tmp_path / TABLE)


def test_units_that_fit_their_hash_and_are_no_table_are_an_error(tmp_path: Path) -> None:
    write_plan(str(tmp_path), PLAN)
    (tmp_path / TABLE).write_bytes(b"no table")
    rewrite_head(tmp_path, lambda head: head.update(units_sha256=hashlib.sha256(b"no table").hexdigest()))
    with pytest.raises(BuildError) as caught:
        read_plan(str(tmp_path))
    assert caught.value.file == str(tmp_path / TABLE)


def test_a_folder_without_a_plan_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        read_plan(str(tmp_path))
    assert caught.value.file == str(tmp_path / HEAD)


def test_a_published_plan_is_not_replaced(tmp_path: Path) -> None:
    assert write_plan(str(tmp_path), PLAN)
    before = (tmp_path / HEAD).read_bytes(), (tmp_path / TABLE).read_bytes()
    for second in (PLAN, OTHER):
        assert not write_plan(str(tmp_path), second)
        assert ((tmp_path / HEAD).read_bytes(), (tmp_path / TABLE).read_bytes()) == before


class KilledError(BaseException):
    """Stands for a kill: no handler catches it."""


def before_head(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Something happens once, when the units are written and the head is about to be."""
    put, pending = storage.put_if_absent, [happens]

    def interrupted(url: str, data: bytes) -> bool:
        if url.endswith(str(HEAD)) and pending:
            pending.pop()()
        return put(url, data)

    monkeypatch.setattr(storage, "put_if_absent", interrupted)


def killed() -> None:
    raise KilledError


@pytest.mark.parametrize("second", [PLAN, OTHER])
def test_a_kill_between_units_and_head_leaves_no_plan_and_the_next_write_succeeds(
    second: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_head(monkeypatch, killed)
    with pytest.raises(KilledError):
        write_plan(str(tmp_path), PLAN)
    assert (tmp_path / TABLE).exists()
    with pytest.raises(BuildError):
        read_plan(str(tmp_path))
    assert write_plan(str(tmp_path), second)
    assert read_plan(str(tmp_path)) == second


@pytest.mark.parametrize("other", [PLAN, OTHER])
def test_a_concurrent_plan_wins_whole_if_its_head_comes_first(
    other: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_head(monkeypatch, lambda: write_plan(str(tmp_path), other))
    assert not write_plan(str(tmp_path), PLAN)
    assert read_plan(str(tmp_path)) == other


def test_units_that_a_concurrent_plan_overwrote_are_restored_by_the_winner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_head(monkeypatch, lambda: storage.overwrite(str(tmp_path / TABLE), OTHER.units.to_parquet()))
    assert write_plan(str(tmp_path), PLAN)
    assert read_plan(str(tmp_path)) == PLAN


def test_units_of_the_winner_are_restored_by_the_loser_who_overwrote_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loser sees no head, the winner publishes both files, and only then the loser writes its units."""
    exists, pending = storage.exists, [True]

    def late(url: str) -> bool:
        found = exists(url)
        if pending:
            pending.pop()
            assert write_plan(str(tmp_path), PLAN)
        return found

    monkeypatch.setattr(storage, "exists", late)
    assert not write_plan(str(tmp_path), OTHER)
    assert read_plan(str(tmp_path)) == PLAN


def test_a_storage_that_overwrites_what_exists_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store without create-only writes: a second PUT of the head goes through."""
    pipe = MemoryFileSystem.pipe_file
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", lambda self, path, data, mode="": pipe(self, path, data))
    with pytest.raises(StorageError) as caught:
        write_plan("memory://without-create-only", PLAN)
    assert caught.value.file == f"memory://without-create-only/{HEAD}"


def test_the_sealed_plan_is_that_of_the_newest_version(tmp_path: Path) -> None:
    plan = fake_build(tmp_path, [written(0), rejected(1, "broken")])
    assert sealed_plan(str(tmp_path)) == plan
