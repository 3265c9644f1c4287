"""Options of the commands over builds, and the spec that they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dentgen.cli.demo import spec_or_demo

if TYPE_CHECKING:
    from dentgen.spec.build import BuildSpec

Spec = Annotated[Path, typer.Argument(help="Build spec, YAML; 'demo' is the one that is installed with dentgen.")]
Out = Annotated[str, typer.Argument(help="Folder or URL of a build.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Replace one key of the spec.")]
Address = Annotated[str | None, typer.Option(help="Ray cluster to join; default: RAY_ADDRESS, or a new local one.")]
RayChoice = Annotated[bool, typer.Option(help="Generate in Ray actors, or in this process.")]


def read_build(spec: Path, overrides: list[str] | None) -> BuildSpec:
    """The spec of a command that reads its source for a build.

    Raises:
        SpecError: If it is wrong, or a place in it cannot be used.
    """
    from dentgen.spec.yaml_file import read_spec, require_places

    file, changes = spec_or_demo(None if str(spec) == "demo" and not spec.exists() else spec, overrides)
    build_spec = read_spec(file, changes)
    require_places(build_spec, file)
    return build_spec
