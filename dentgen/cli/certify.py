"""``dentgen certify``: what a finished dataset is worth, in figures that anyone can compute again."""

from __future__ import annotations

from typing import Annotated

import typer

from dentgen.cli.build_options import Out
from dentgen.cli.progress import announce


def certify(
    out: Out,
    reference: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Labelled pictures that you trust: is it useful to train on the dataset?"),
    ] = None,
    training: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Pictures that the model learnt on: does it repeat them?")
    ] = None,
    held_out: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Pictures of the same kind that it did not learn on.")
    ] = None,
    judges: Annotated[str, typer.Option(metavar="FOLDER", help="Judges: 'embedded', or a folder of your own.")] = (
        "embedded"
    ),
    pictures: Annotated[int, typer.Option(min=2, help="Pictures to judge and to train on, at most.")] = 512,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each segmenter.")] = 450,
    seeds: Annotated[int, typer.Option(min=1, help="Segmenters of each kind.")] = 3,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Compute it again and compare; exit 1 if a figure differs.")
    ] = False,
) -> None:
    """Write a dataset's certificate: certificate.json and certificate.html.

    Agreement with the labels, what the gate did, what was rejected, copies;
    with --reference whether training on the dataset helps, with --training
    and --held-out whether its model repeats what it learnt on. Every figure names its
    command and the digests of what it was computed from; the same command
    gives the same bytes.

    Example: dentgen certify out/demo
    """
    announce(f"certify: {out}")
    from dentgen.evaluation.certificate.write import (
        CertificateSettings,
        certify,
        differences,
        write_certificate,
    )
    from dentgen.shards.certificate import read_certificate

    stored = read_certificate(out) if check else None
    settings = CertificateSettings(judges, pictures, reference, training, held_out, steps, tuple(range(seeds)))
    computed = certify(out, settings)
    if stored is None:
        for place in write_certificate(out, computed):
            typer.echo(place)
        return
    found = differences(stored, computed)
    for line in found:
        typer.echo(line, err=True)
    typer.echo(f"{len(found)} differences")
    if found:
        raise typer.Exit(1)
