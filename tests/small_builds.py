"""A small real build of two splits in five shards, and its source."""

from __future__ import annotations

from pathlib import Path

from dentgen.pipeline.run import build
from dentgen.report.card.write import write_description
from dentgen.shards.plan_file import read_plan
from dentgen.spec.build import BuildSpec
from tests.conftest import small_spec, write_tar

#: Pixels; the maps have 128, so that they are resized.
SIZE = 64


def two_split_source(folder: Path, demo_members: dict[str, dict[str, bytes]]) -> Path:
    """Two condition shards: two records of ``validation`` and one of ``train``, then two of ``train``."""
    keys = sorted(demo_members)[3:8]
    source = folder / "conditions"
    write_tar(source / "a.tar", {key: demo_members[key] for key in keys[:3]})
    write_tar(source / "b.tar", {key: demo_members[key] for key in keys[3:]})
    return source


def two_split_spec(source: Path, out: Path) -> BuildSpec:
    """One record in two variants a shard."""
    return small_spec(source, out, conditions={"size": SIZE}, pipeline={"samples_per_shard": 2})


def described_build(spec: BuildSpec) -> Path:
    """Build and describe; returns the output folder."""
    index = build(spec, use_ray=False).index
    out = spec.output.path
    write_description(out, read_plan(out), index)
    return Path(out)
