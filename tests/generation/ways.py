"""Units of two records in one way of sampling: their pictures, metadata and canvases."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dentgen.conditions.readers.source import list_shards
from dentgen.conditions.unit_records import read_unit
from dentgen.diffusion.canvas import Canvas
from dentgen.generation.canvases import build_canvases
from dentgen.generation.engines import start_engine
from dentgen.generation.generator import Generator, load_generator, load_planned_generator
from dentgen.generation.requests import sample_requests
from dentgen.generation.unit import generate_unit
from dentgen.pipeline.plan import make_plan
from dentgen.shards.ledger import UnitResult
from dentgen.shards.reader import tar_samples
from dentgen.spec.build import BuildSpec
from tests.conftest import small_spec

Members = dict[str, dict[str, bytes]]
Picture = NDArray[np.int16]

#: Of the maps and photos of ``JAWS``, so that nothing is resized.
FULL_SIZE: dict[str, object] = {"size": 128}

#: A photo in the left frame, its record under another light in the right one.
REFERENCE: dict[str, Mapping[str, object]] = {
    "sampling": {"start_from": "reference", "steps": 3},
    "variants": {"same_noise": True, "change": ["lighting"]},
}


def spec_of(source: Path, sections: Mapping[str, Mapping[str, object]]) -> BuildSpec:
    """A small build in four steps, so that parts of the steps and windows of control differ."""
    values = {name: dict(section) for name, section in sections.items()}
    values["sampling"] = {"steps": 4, **values.get("sampling", {})}
    return small_spec(source, source.parent / "out", **values)


def unit(source: Path, **sections: Mapping[str, object]) -> UnitResult:
    plan = make_plan(spec_of(source, sections))
    generator = load_planned_generator(plan)
    return generate_unit(plan, generator, plan.units[0], list_shards(str(source))[0], start_engine(generator).run)


def generator_of(source: Path, **sections: Mapping[str, object]) -> Generator:
    return load_generator(spec_of(source, sections))


def canvas_of(source: Path, variant: int = 0, /, **sections: Mapping[str, object]) -> Canvas:
    """Canvas of one variant of the first record."""
    generator = generator_of(source, **sections)
    plan = make_plan(generator.spec)
    records, _ = read_unit(generator.spec, plan.units[0], list_shards(str(source))[0])
    return build_canvases(generator, sample_requests(generator, records[0]))[variant]


def samples(source: Path, **sections: Mapping[str, object]) -> dict[str, tuple[Picture, dict[str, Any]]]:
    """Pictures and metadata by key."""
    result = unit(source, **sections)
    assert not result.record.rejected, [sample.reason for sample in result.record.samples]
    return {
        key: (image(members["png"]).astype(np.int16), json.loads(members["json"]))
        for key, members in tar_samples(result.shard)
    }


def image(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(content)))


def pictures(source: Path, **sections: Mapping[str, object]) -> list[Picture]:
    return [picture for picture, _ in samples(source, **sections).values()]


def away(one: list[Picture], other: list[Picture]) -> float:
    """Mean difference, levels."""
    return float(np.mean([np.abs(a - b).mean() for a, b in zip(one, other, strict=True)]))
