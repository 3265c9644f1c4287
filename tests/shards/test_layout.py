"""Names of the output tree: every name that dentgen gives is recognised, and no other."""

from __future__ import annotations

import pytest

from dentgen.shards import layout

SHA256 = "0123456789abcdef" * 4

OWN = (
    layout.plan_head(),
    layout.plan_head(7),
    layout.plan_units(),
    layout.SOURCE_INDEX,
    layout.shard("000000"),
    layout.shard("1234567"),
    layout.ledger("000000"),
    layout.orphan("000000", SHA256),
    *(layout.versioned(12, name) for name in layout.VERSIONED),
    *layout.TOP,
)

FOREIGN = (
    "notes.txt",
    "shards/notes.txt",
    "shards/00000.tar",
    "shards/000000.tar.bak",
    "copy/shards/000000.tar",
    "ledger/000000.jsonl",
    "orphans/000000.tar",
    "versions/0/report.html",
    "versions/first/index.json",
    "plan/000000.parquet",
    "READMEXmd",
    "",
)


@pytest.mark.parametrize("name", OWN)
def test_names_that_dentgen_gives_are_its_own(name: str) -> None:
    assert layout.is_own(name, 1_234_568, 12)


@pytest.mark.parametrize("name", FOREIGN)
def test_other_names_are_not(name: str) -> None:
    assert not layout.is_own(name, 1_234_568, 12)


@pytest.mark.parametrize(
    "name",
    [layout.shard("000003"), layout.ledger("000003"), layout.orphan("000003", SHA256), layout.plan_head(2),
     layout.plan_units(2), layout.versioned(2, layout.INDEX)],
)  # fmt: skip
def test_names_of_another_build_are_not(name: str) -> None:
    """Of a build of three units and two plan segments."""
    assert not layout.is_own(name, 3, 1)
    assert layout.is_own(name, 4, 2)


def test_no_two_files_share_a_name() -> None:
    assert len(set(OWN)) == len(OWN)


def test_a_unit_has_one_name_in_every_folder() -> None:
    assert layout.shard("000012") == "shards/000012.tar"
    assert layout.shard_file("000012") == "000012.tar"
    assert layout.ledger("000012") == "ledger/000012.json"
    assert layout.orphan("000012", SHA256) == "orphans/000012-0123456789abcdef.tar"
