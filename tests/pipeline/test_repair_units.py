"""Units to generate again: which bytes are right, and where nothing can be right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dentgen.errors import SpecChangedError
from dentgen.pipeline.repair_units import claims_on, require_environment, sealed_claims, unpinned
from dentgen.pipeline.run import build
from dentgen.shards.index_reader import read_index
from dentgen.shards.ledger import digest_of
from dentgen.shards.plan_file import read_plan
from tests.conftest import small_spec


@pytest.fixture
def out(small_source: Path, tmp_path: Path) -> Path:
    build(small_spec(small_source, tmp_path / "out"), use_ray=False)
    return tmp_path / "out"


@pytest.mark.integration
def test_record_index_and_at_last_the_shard_itself_say_which_bytes_are_right(out: Path) -> None:
    index, unit = read_index(str(out)), read_plan(str(out)).units[0]
    sealed = sealed_claims(str(out), 0)
    assert sealed[0] == {shard.name: shard.sha256 for shard in index.shards}
    assert claims_on(str(out), unit, sealed) == {index.shards[0].sha256}
    (out / "ledger" / f"{unit.name}.json").write_text("torn")
    assert claims_on(str(out), unit, sealed) == {index.shards[0].sha256}
    shard = out / "shards" / f"{unit.name}.tar"
    shard.write_bytes(b"other")
    assert claims_on(str(out), unit, []) == {digest_of(b"other")}
    shard.unlink()
    assert claims_on(str(out), unit, []) == set()


@pytest.mark.integration
def test_a_unit_is_generated_from_a_copy_of_its_shard(out: Path) -> None:
    unit = read_plan(str(out)).units[0]
    assert unit.shard_tag
    assert unpinned(unit) == replace(unit, shard_tag="", shard_content="")


@pytest.mark.integration
def test_another_bundle_is_refused(out: Path) -> None:
    plan = read_plan(str(out))
    require_environment(plan)
    with pytest.raises(SpecChangedError, match="bundle digest"):
        require_environment(replace(plan, bundle_digest="other"))
