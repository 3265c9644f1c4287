"""Planning: what is resolved, what is written, and what may differ when a build is resumed."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dentgen.conditions.readers.source import index_shard, list_shards
from dentgen.documents.ledger import LedgerRecord
from dentgen.errors import BuildError, SpecChangedError, StorageError
from dentgen.models.bundle import find_bundle
from dentgen.pipeline import source_index
from dentgen.pipeline.environment import environment
from dentgen.pipeline.plan import DraftPlan, adopt_plan, draft_plan, make_plan
from dentgen.pipeline.source_index import is_known, read_source_index
from dentgen.shards.plan import BuildLocation, Plan
from dentgen.shards.plan_file import read_plan
from tests.conftest import small_spec


def test_records_times_variants_are_cut_into_units(small_source: Path, tmp_path: Path) -> None:
    spec = small_spec(small_source, tmp_path / "out")
    plan = make_plan(spec)
    assert [(unit.shard, unit.start, unit.stop) for unit in plan.units] == [
        ("a.tar", 0, 2), ("a.tar", 2, 3), ("b.tar", 0, 2),
    ]  # fmt: skip
    assert plan.planned == 10
    assert plan.spec_digest == spec.digest()
    assert plan.spec.engine.control_slots == spec.control_slots
    assert plan.environment == environment(spec)


def test_a_dry_run_writes_nothing(small_source: Path, tmp_path: Path) -> None:
    spec = small_spec(small_source, tmp_path / "out")
    before = sorted(small_source.iterdir())
    make_plan(spec)
    assert not (tmp_path / "out").exists()
    assert sorted(small_source.iterdir()) == before


def test_a_limit_stops_indexing_early(small_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_index, "_CHUNK", 1)
    shards = list_shards(str(small_source))
    indexes = [index_shard(shard, with_metadata=False) for shard in shards]
    source_index.write_source_index(str(tmp_path / "out" / "plan" / "source.parquet"), shards, indexes)
    for limit, indexed in ((3, [(1, 2)]), (4, [(1, 2), (2, 2)])):
        seen: list[tuple[int, int]] = []
        spec = small_spec(small_source, tmp_path / "out", source={"limit": limit})
        plan = make_plan(spec, lambda *counts, seen=seen: seen.append(counts))
        assert plan.planned == 2 * limit
        assert seen == indexed


def test_a_split_without_records_is_an_error_that_names_it(small_source: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        make_plan(small_spec(small_source, tmp_path / "out", source={"split": "holdout"}))
    assert caught.value.file == str(small_source)
    assert "holdout" in caught.value.found


def test_a_missing_source_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        make_plan(small_spec(tmp_path / "nothing-there", tmp_path / "out"))
    assert caught.value.file == str(tmp_path / "nothing-there")


@pytest.fixture
def draft(small_source: Path, tmp_path: Path) -> DraftPlan:
    """A plan for a build in ``out``."""
    return draft_plan(small_spec(small_source, tmp_path / "out"))


@pytest.fixture
def planned(draft: DraftPlan, tmp_path: Path) -> Plan:
    """The plan stored in ``out``, with a unit committed under it."""
    plan = adopt_plan(str(tmp_path / "out"), draft)
    commit_one(tmp_path / "out", plan, "000000.tar")
    return plan


def commit_one(out: Path, plan: Plan, shard: str) -> None:
    record = LedgerRecord(
        unit=0, spec_digest=plan.spec_digest, bundle_digest=plan.bundle_digest, shard=shard, bytes=1, sha256="0" * 64,
        samples=(),
    )  # fmt: skip
    (out / "ledger").mkdir()
    (out / "ledger" / "000000.json").write_text(record.model_dump_json())


def test_the_same_plan_is_adopted(planned: Plan, draft: DraftPlan, tmp_path: Path) -> None:
    assert read_plan(str(tmp_path / "out")) == planned
    assert adopt_plan(str(tmp_path / "out"), draft) == planned


@pytest.mark.parametrize("rejected", [False, True])
def test_a_plan_under_which_nothing_was_written_is_replaced(
    rejected: bool, draft: DraftPlan, small_source: Path, tmp_path: Path
) -> None:
    plan = adopt_plan(str(tmp_path / "out"), draft)
    if rejected:
        commit_one(tmp_path / "out", plan, "")
    other = draft_plan(small_spec(small_source, tmp_path / "out", sampling={"seed": 6}))
    assert adopt_plan(str(tmp_path / "out"), other) == read_plan(str(tmp_path / "out"))
    assert read_plan(str(tmp_path / "out")).spec.sampling.seed == 6
    assert list((tmp_path / "out").glob("ledger/*")) == []


def test_a_damaged_plan_under_which_nothing_was_written_is_replaced(draft: DraftPlan, tmp_path: Path) -> None:
    for name in ("000000.json", "000000.units.parquet"):
        adopt_plan(str(tmp_path / "out"), draft)
        (tmp_path / "out" / "plan" / name).write_bytes(b"{")
        assert adopt_plan(str(tmp_path / "out"), draft) == read_plan(str(tmp_path / "out"))


def test_no_folder_of_the_maker_is_in_the_plan(draft: DraftPlan, tmp_path: Path) -> None:
    adopt_plan(str(tmp_path / "out"), draft)
    head = (tmp_path / "out" / "plan" / "000000.json").read_text()
    assert str(tmp_path) not in head
    assert (
        BuildLocation.of_plan(read_plan(str(tmp_path / "out")), str(tmp_path / "out")).source
        == f"{tmp_path}/out/./../conditions"
    )


def test_a_copied_source_is_the_same_source(planned: Plan, small_source: Path, tmp_path: Path) -> None:
    for shard in small_source.iterdir():
        os.utime(shard, (1, 1))
    again = draft_plan(small_spec(small_source, tmp_path / "out"))
    assert again.plan.units != planned.units
    assert adopt_plan(str(tmp_path / "out"), again) == planned
    known = read_source_index(str(tmp_path / "out" / "plan" / "source.parquet"))
    assert all(is_known(shard, known, with_metadata=False) for shard in again.shards)


def test_a_map_replaced_at_equal_size_is_refused_by_the_name_of_its_shard(
    planned: Plan, small_source: Path, tmp_path: Path
) -> None:
    shard = small_source / "b.tar"
    content = bytearray(shard.read_bytes())
    content[600] ^= 1
    shard.write_bytes(content)
    os.utime(shard, (1, 1))
    with pytest.raises(SpecChangedError) as caught:
        adopt_plan(str(tmp_path / "out"), draft_plan(small_spec(small_source, tmp_path / "out")))
    assert "b.tar was replaced" in caught.value.message
    assert planned.units[2].shard_content in caught.value.message


def test_settings_that_decide_no_bytes_may_change(planned: Plan, small_source: Path, tmp_path: Path) -> None:
    spec = small_spec(
        small_source, tmp_path / "out", quality={"max_rejected": 0.5}, engine={"slots": 4, "fill": "unit"},
        pipeline={"actors": 7, "lease_seconds": 7, "stall_seconds": 9, "environment": "warn", "samples_per_shard": 4},
    )  # fmt: skip
    assert spec.digest() == planned.spec_digest
    assert adopt_plan(str(tmp_path / "out"), draft_plan(spec)) == planned


def test_a_changed_spec_is_refused_with_every_difference(planned: Plan, small_source: Path, tmp_path: Path) -> None:
    changed = small_spec(small_source, tmp_path / "out", sampling={"seed": 6}, conditions={"alpha": 0.4})
    with pytest.raises(SpecChangedError) as caught:
        adopt_plan(str(tmp_path / "out"), draft_plan(changed))
    assert caught.value.file == str(tmp_path / "out" / "plan" / "000000.json")
    assert "sampling.seed: 5 -> 6" in caught.value.message
    assert "conditions.alpha: 0.3 -> 0.4" in caught.value.message
    assert read_plan(str(tmp_path / "out")) == planned


def test_a_changed_bundle_or_source_is_refused(planned: Plan, draft: DraftPlan, tmp_path: Path) -> None:
    units = type(planned.units)
    others = {
        "f" * 64: replace(planned, bundle_digest="f" * 64),
        "3 units -> 2 units": replace(planned, units=units.of(planned.units[:2])),
        "3 units -> 3 units": replace(
            planned, units=units.of([*planned.units[:2], replace(planned.units[2], shard_bytes=1)])
        ),
    }
    for fact, other in others.items():
        with pytest.raises(SpecChangedError) as caught:
            adopt_plan(str(tmp_path / "out"), replace(draft, plan=other))
        assert fact in caught.value.message


def elsewhere(draft: DraftPlan, policy: str, **changes: str) -> DraftPlan:
    """The plan as another machine makes it."""
    plan = draft.plan
    pipeline = plan.spec.pipeline.model_copy(update={"environment": policy})
    spec = plan.spec.model_copy(update={"pipeline": pipeline})
    return replace(draft, plan=replace(plan, spec=spec, environment={**plan.environment, **changes}))


@pytest.mark.usefixtures("planned")
def test_another_environment_is_refused_by_default(draft: DraftPlan, tmp_path: Path) -> None:
    with pytest.raises(SpecChangedError) as caught:
        adopt_plan(str(tmp_path / "out"), elsewhere(draft, "refuse", torch="9.9"))
    assert "environment.torch" in caught.value.message
    assert "9.9" in caught.value.message


def test_another_environment_is_a_warning_by_policy(
    planned: Plan, draft: DraftPlan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = adopt_plan(str(tmp_path / "out"), elsewhere(draft, "warn", torch="9.9"))
    assert found.units == planned.units
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "environment.torch" in warning
    assert "9.9" in warning


def test_a_word_that_no_prompt_says_is_a_warning(
    small_source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = Path(shutil.copytree(find_bundle("miniature"), tmp_path / "bundle"))
    (bundle / "embeddings").mkdir()
    save_file({"<look>": torch.zeros(1, 128)}, bundle / "embeddings" / "look.safetensors")
    model: dict[str, object] = {"bundle": str(bundle), "embeddings": ["look"]}
    for prompt, warnings in (("teeth", 1), ("teeth, <look>", 0), (None, 0)):
        caplog.clear()
        make_plan(small_spec(small_source, tmp_path / "out", model=model, sampling={"prompt": prompt}))
        found = [record.getMessage() for record in caplog.records if record.name == "dentgen.pipeline.plan"]
        assert sum("<look>" in message for message in found) == warnings


@pytest.mark.usefixtures("planned")
def test_the_policy_covers_the_environment_alone(draft: DraftPlan, tmp_path: Path) -> None:
    warned = elsewhere(draft, "warn", torch="9.9")
    other = replace(warned, plan=replace(warned.plan, bundle_digest="f" * 64))
    with pytest.raises(SpecChangedError) as caught:
        adopt_plan(str(tmp_path / "out"), other)
    assert "f" * 64 in caught.value.message
    assert "environment.torch" in caught.value.message


def test_the_size_of_the_bundles_unet_is_the_default(small_source: Path, tmp_path: Path) -> None:
    plans = [make_plan(small_spec(small_source, tmp_path, conditions={"size": size})) for size in (None, 256, 64)]
    assert [plan.spec.conditions.size for plan in plans] == [256, 256, 64]
    assert plans[0].spec_digest == plans[1].spec_digest != plans[2].spec_digest
