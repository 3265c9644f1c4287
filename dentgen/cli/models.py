"""``dentgen models``: checkpoints in, what they are, whether a bundle can be used. Refuses to do any work itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(no_args_is_help=True, help="Import checkpoints into bundles, and look at both.")

Kind = Literal["auto", "ctrlora-base", "ctrlora-adapter", "lora", "single-file", "embedding"]
UnsafePickle = Annotated[
    bool, typer.Option("--unsafe-pickle", help="Read .ckpt and .pt files, tensors only; do so with files you trust.")
]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Checkpoint: safetensors, or a pickle with --unsafe-pickle.")],
    out: Annotated[Path, typer.Argument(help="New folder of a bundle's part; NAME.safetensors for an embedding.")],
    kind: Annotated[Kind, typer.Option(help="What the file is; auto looks at its keys.")] = "auto",
    bundle: Annotated[
        str | None, typer.Option(help="Bundle to compare shapes with; a single file takes what it lacks from it.")
    ] = None,
    *,
    unsafe_pickle: UnsafePickle = False,
) -> None:
    """Bring a checkpoint into a bundle's layout, whole or not at all."""
    from dentgen.models.checkpoints.import_file import import_checkpoint

    done = import_checkpoint(file, out, kind, bundle=bundle, unsafe_pickle=unsafe_pickle)
    checked = f"shapes fit {bundle}" if done.checked else "shapes not compared with a bundle's: --bundle does so"
    typer.echo(f"{done.kind} of {done.tensors} tensors imported to {out}; {checked}")


@app.command()
def inspect(
    what: Annotated[str, typer.Argument(metavar="FILE|BUNDLE", help="Checkpoint file, or a bundle.")],
    *,
    unsafe_pickle: UnsafePickle = False,
) -> None:
    """Say what a file or bundle is: parts, precision, parameters, digest, what it fits."""
    from dentgen.models.inspection import describe_bundle, describe_file, is_bundle

    lines = describe_bundle(what) if is_bundle(what) else describe_file(Path(what), unsafe_pickle=unsafe_pickle)
    for line in lines:
        typer.echo(line)


@app.command()
def verify(
    bundle: Annotated[str, typer.Argument(help="The embedded miniature, a folder or URL, or a hub id.")],
) -> None:
    """Load every part of a bundle; exit code 1 and a line a problem if something is wrong."""
    from dentgen.models.bundle_check import bundle_problems

    problems = list(bundle_problems(bundle))
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        typer.echo(f"{bundle}: {len(problems)} problems")
        raise typer.Exit(1)
    from dentgen.models.bundle import bundle_digest

    typer.echo(f"{bundle}: 0 problems, digest {bundle_digest(bundle, ())} without adapters and other choices")
