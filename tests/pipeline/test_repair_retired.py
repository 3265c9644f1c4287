"""Retired units, which earlier versions have, are verified, and mended as far as anybody still has their bytes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dentgen.pipeline.repair import RepairOutcome, repair
from dentgen.pipeline.verify import verify
from tests.pipeline.growing import Members, add_shard, files, grow, growing_spec, without_a_model


@pytest.fixture(autouse=True)
def _no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    without_a_model(monkeypatch)


@pytest.fixture
def out(tmp_path: Path, demo_members: Members) -> Path:
    """Two versions: the units 1 and 2 over ``d`` were retired when that changed; ``before`` has it as it was."""
    source = tmp_path / "in"
    add_shard(source, "b", demo_members, 0)
    add_shard(source, "d", demo_members, 2, 4)
    spec = growing_spec(source, tmp_path / "out")
    grow(spec)
    shutil.copytree(source, tmp_path / "before")
    os.utime(add_shard(source, "d", demo_members, 8), (1, 1))
    grow(spec, on_changed="rebuild-as-new")
    return tmp_path / "out"


def found(out: Path) -> list[tuple[str, int | None]]:
    return [(problem.place, problem.unit) for problem in verify(str(out))]


def mended(out: Path, source: str = "in") -> RepairOutcome:
    return repair(str(out), str(out.parent / source), use_ray=False)


@pytest.mark.integration
@pytest.mark.parametrize("damage", ["lost", "torn", "of another sample"])
def test_a_record_is_put_back_from_the_version_that_has_it(damage: str, out: Path) -> None:
    seen: list[tuple[int, int]] = []
    assert list(verify(str(out), lambda *counts: seen.append(counts))) == []
    assert seen == [(number, 4) for number in range(1, 5)]
    record, before = out / "ledger" / "000001.json", files(out)
    content = record.read_text()
    if damage == "lost":
        record.unlink()
    else:
        record.write_text("{" if damage == "torn" else content.replace("-v001", "-v007"))
    assert found(out)[0] == ("ledger/000001.json", 1)
    assert {unit for _, unit in found(out)} == {1}
    outcome = mended(out)
    assert (outcome.units, outcome.left) == ((), ())
    assert files(out, "ledger", "shards", "versions") == {
        name: content for name, content in before.items() if name.startswith(("ledger", "shards", "versions"))
    }


@pytest.mark.integration
@pytest.mark.parametrize("source", ["in", "gone", "before"])
def test_a_shard_is_generated_again_where_the_source_gives_its_bytes(source: str, out: Path) -> None:
    """Otherwise that is told, and what else was damaged is mended."""
    if source == "gone":
        shutil.copytree(out.parent / "in", out.parent / "gone")
        (out.parent / "gone" / "d.tar").unlink()
    before = files(out, "shards", "index.json")
    (out / "shards" / "000001.tar").write_bytes(b"torn")
    (out / "shards" / "000000.tar").unlink()
    (out / "index.json").unlink()
    assert found(out) == [("shards/000000.tar", 0), ("shards/000001.tar", 1), ("index.json", None)]
    outcome = mended(out, source)
    if source == "before":
        assert (outcome.units, outcome.left) == ((0, 1), ())
    else:
        (left,) = outcome.left
        assert (outcome.units, left.place, left.unit) == ((0,), "shards/000001.tar", 1)
        assert all(fact in left.text for fact in ("d.tar", "retired", "gone" if source == "gone" else "other bytes"))
        before["shards/000001.tar"] = b"torn"
    assert files(out, "shards", "index.json") == before


@pytest.mark.integration
def test_versions_whose_units_are_lost_stay_as_they_are(out: Path) -> None:
    (out / "ledger" / "000001.json").unlink()
    for name in ("ledger.parquet", "seal.json"):
        (out / "versions" / "0" / name).unlink()
    (out / "samples.parquet").unlink()
    outcome = mended(out)
    assert [(problem.place, problem.unit) for problem in outcome.left] == [
        ("ledger/000001.json", 1), ("versions/0/seal.json", None),
    ]  # fmt: skip
    assert (out / "samples.parquet").exists()
    assert mended(out, "before").left == ()


def test_a_source_that_cannot_be_listed_is_told(out: Path) -> None:
    (out / "shards" / "000002.tar").unlink()
    (left,) = mended(out, "nowhere").left
    assert (left.place, left.unit) == ("shards/000002.tar", 2)
    assert "nowhere" in left.text
