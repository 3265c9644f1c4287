"""``dentgen models``: import checkpoints, inspect and verify bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dentgen.cli.progress import announce
from dentgen.redaction import shown
from dentgen.storage import expanded

app = typer.Typer(no_args_is_help=True, help="Import checkpoints into bundles, inspect and verify them.")

Kind = Literal["auto", "ctrlora-base", "ctrlora-adapter", "lora", "single-file", "embedding"]
UnsafePickle = Annotated[
    bool, typer.Option("--unsafe-pickle", help="Read .ckpt, .pt and .bin files: tensors only, no code runs.")
]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Checkpoint: safetensors, or a pickle with --unsafe-pickle.")],
    out: Annotated[Path, typer.Argument(help="New folder of the bundle's part; NAME.safetensors for an embedding.")],
    kind: Annotated[Kind, typer.Option(help="Kind of file; auto recognises it by its keys.")] = "auto",
    bundle: Annotated[
        str | None, typer.Option(help="Bundle to check shapes against; a single file takes its missing parts from it.")
    ] = None,
    license_: Annotated[
        str, typer.Option("--license", help="License of the checkpoint, such as creativeml-openrail-m.")
    ] = "",
    *,
    unsafe_pickle: UnsafePickle = False,
) -> None:
    """Convert a checkpoint into a part of a bundle, completely or not at all.

    Takes ctrLoRA bases and adapters, LoRAs, single files of Stable Diffusion
    1.5, and textual inversions. What cannot be placed is refused.

    Example: dentgen models import lcm-lora.safetensors my-bundle/loras/lcm --bundle my-bundle
    """
    announce(f"models import: {file}")
    from dentgen.models.checkpoints.import_file import import_checkpoint

    done = import_checkpoint(file, out, kind, bundle=bundle, license=license_, unsafe_pickle=unsafe_pickle)
    checked = f"shapes fit {bundle}" if done.checked else "shapes not checked, use --bundle to check them"
    typer.echo(f"{done.kind} of {done.tensors} tensors imported to {out}; {checked}")


@app.command()
def join(
    pieces: Annotated[Path, typer.Argument(help="Folder with bundle.tar.00, bundle.tar.01, ... and bundle.sha256.")],
    bundle: Annotated[Path, typer.Argument(help="New bundle folder.")],
) -> None:
    """Put together a bundle that came in pieces.

    Example: dentgen models join results my-bundle
    """
    announce(f"models join: {pieces}")
    from dentgen.models.pieces import join_pieces

    join_pieces(pieces, bundle)
    typer.echo(f"bundle: {bundle}")


@app.command()
def inspect(
    what: Annotated[str, typer.Argument(metavar="FILE|BUNDLE", help="Checkpoint file, or a bundle.")],
    *,
    unsafe_pickle: UnsafePickle = False,
) -> None:
    """Show parts, precision, parameters and digest of a checkpoint or bundle.

    Example: dentgen models inspect miniature
    """
    announce(f"models inspect: {what}")
    from dentgen.models.inspection import describe_bundle, describe_file, is_bundle

    lines = (
        describe_bundle(what) if is_bundle(what) else describe_file(Path(expanded(what)), unsafe_pickle=unsafe_pickle)
    )
    for line in lines:
        typer.echo(shown(line))


@app.command()
def verify(
    bundle: Annotated[str, typer.Argument(help="The embedded miniature, a folder or URL, or a hub id.")],
) -> None:
    """Load every part of a bundle and check that the parts fit each other.

    Exits 1 and prints one line per problem.

    Example: dentgen models verify miniature
    """
    announce(f"models verify: {bundle}")
    from dentgen.models.bundle_check import bundle_problems

    problems = list(bundle_problems(bundle))
    for problem in problems:
        typer.echo(shown(str(problem)), err=True)
    if problems:
        typer.echo(f"{bundle}: {len(problems)} problems")
        raise typer.Exit(1)
    from dentgen.models.bundle import bundle_digest

    typer.echo(f"{bundle}: 0 problems, digest {bundle_digest(bundle, ())} without adapters and other choices")
