"""``dentgen train``: one component of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dentgen.cli.build_options import Overrides
from dentgen.cli.progress import announce


def train(
    spec: Annotated[Path, typer.Argument(help="Training spec, YAML.")],
    set_: Overrides = None,
    *,
    export_only: Annotated[
        bool, typer.Option("--export-only", help="Write the newest checkpoint's weights to the bundle and stop.")
    ] = False,
) -> None:
    """Train one component of a bundle; resumes from its checkpoint.

    Example: dentgen train jobs/specs/train-adapter.yaml --set steps=1000
    """
    announce(f"train: {spec}")
    from dentgen.spec.train import read_train_spec
    from dentgen.training.run import run_training

    run_training(read_train_spec(spec, tuple(set_ or ())), export_only=export_only)
