"""Fixtures: a real build with its card, shared by all tests that only read it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def two_split_build(tmp_path_factory: pytest.TempPathFactory, demo_members: dict[str, dict[str, bytes]]) -> Path:
    """Five records of two splits, two variants each, one record per shard."""
    from tests.small_builds import described_build, two_split_source, two_split_spec

    folder = tmp_path_factory.mktemp("two-split")
    return described_build(two_split_spec(two_split_source(folder, demo_members), folder / "out"))
