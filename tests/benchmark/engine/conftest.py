"""Fixtures: eight small images for all contestants, on the embedded miniature."""

from __future__ import annotations

import pytest

from dentgen.benchmark.engine.work import Work, make_work
from dentgen.models.bundle import Bundle
from dentgen.spec.yaml_file import read_spec
from tests.conftest import ROOT

DEMO_SPEC = ROOT / "jobs/specs/demo.yaml"


@pytest.fixture(scope="session")
def work(miniature: Bundle) -> Work:
    """Two slots, one variant, two steps, 64 px: eight images fill the codec's batch."""
    overrides = ["engine.slots=2", "sampling.variants=1", "sampling.steps=2", "conditions.size=64"]
    return make_work(read_spec(DEMO_SPEC, overrides), miniature, times=1)
