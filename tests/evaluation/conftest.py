"""Fixtures: one work folder for all tiny evaluations, so that each phantom is rendered once."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.evaluation.reference_set import TEST_SEED, ReferenceSet, reference_set
from tests.evaluation.small_evaluation import RECORDS, SIZE


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder."""
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(scope="session")
def jaws(work: Path) -> ReferenceSet:
    """Ten rendered views in it."""
    return reference_set(str(work), RECORDS, TEST_SEED, SIZE, workers=1)
