"""A small finished build with a gate, for tests of certificates."""

from __future__ import annotations

from pathlib import Path

from dentgen.pipeline.run import build
from dentgen.records import FIGURES
from tests.conftest import small_spec, write_tar

Members = dict[str, dict[str, bytes]]


def finished_build(folder: Path, members: Members) -> Path:
    """Records of three patients with two variants each, none of which fails."""
    source, out = folder / "conditions", folder / "out"
    write_tar(source / "a.tar", dict(sorted(members.items())[:15:5]))
    limits = {**dict.fromkeys(FIGURES), "luminance": {"least": 0.0}}
    build(small_spec(source, out, quality={"gate": {"limits": limits}}), use_ray=False)
    return out
