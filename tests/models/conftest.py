"""Fixtures for tests of bundles."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dentgen.models.bundle import find_bundle


@pytest.fixture
def bundle_copy(tmp_path: Path) -> Path:
    """A copy of the miniature's folder that a test may change."""
    return Path(shutil.copytree(find_bundle("miniature"), tmp_path / "bundle"))
