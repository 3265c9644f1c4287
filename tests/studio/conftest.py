"""The miniature at the studio's settings, loaded once."""

from __future__ import annotations

import pytest

from dentgen.generation.generator import Generator, load_generator
from dentgen.spec.build import BuildSpec

SPEC = {
    "model": {"adapters": {"blended": 1.5}},
    "conditions": {"size": 128},
    "sampling": {"steps": 4, "variants": 2},
    "engine": {"slots": 8},
}


@pytest.fixture(scope="session")
def generator() -> Generator:
    return load_generator(BuildSpec.model_validate(SPEC))
