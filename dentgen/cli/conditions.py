"""Commands that make or show condition records: ``dentgen phantom``, ``relight`` and ``sheet``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from dentgen.cli.progress import announce
from dentgen.redaction import shown_name


def phantom(
    out: Annotated[str, typer.Argument(help="Folder or URL for the condition shards.")],
    count: Annotated[
        int,
        typer.Option(
            min=1,
            help="Records; five views, times lightings, make a patient; with --series, a multiple of --frames, "
            "which make one.",
        ),
    ] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the set.")] = 0,
    size: Annotated[int, typer.Option(min=16, max=2048, help="Edge of the maps, pixels.")] = 256,
    shard_size: Annotated[int, typer.Option(min=1, help="Records per shard.")] = 50,
    lightings: Annotated[int, typer.Option(min=1, help="Lightings per view; the other maps stay the same.")] = 1,
    look: Annotated[Literal["photo", "scan"], typer.Option(help="Intra-oral photographs, or scan models.")] = "photo",
    dentition: Annotated[
        Literal["permanent", "deciduous"], typer.Option(help="Adults, or children with their deciduous teeth.")
    ] = "permanent",
    mirrors: Annotated[bool, typer.Option("--mirrors", help="Photograph occlusal views in a mirror.")] = False,
    mix: Annotated[
        str | None,
        typer.Option(
            metavar="varied|FILE",
            help="Close-ups, faces, instruments and disease as a YAML file weighs them, or the built-in mix.",
        ),
    ] = None,
    series: Annotated[
        Literal["orbit", "light"] | None,
        typer.Option(help="Frames of each mouth in one view: the camera circles, or the lamps swing."),
    ] = None,
    frames: Annotated[int, typer.Option(min=2, max=1000, help="Frames of a series; nothing without --series.")] = 32,
    address: Annotated[str | None, typer.Option(help="Ray cluster to render on; default: this machine.")] = None,
) -> None:
    """Render procedural jaws into condition shards with reference pictures.

    Example: dentgen phantom conditions/ --count 1000 --seed 1 --size 256
    """
    announce(f"phantom: {count} records for {out}")
    from dentgen.phantom.rays.grid import GridRayMesh
    from dentgen.phantom.rays.mesh import RayMesh
    from dentgen.phantom.shards import PhantomSet, write_phantoms
    from dentgen.phantom.surroundings.mix import read_mix

    if RayMesh.accelerator is GridRayMesh:
        typer.echo("embreex cannot be imported: rays are traced without Embree, several times slower", err=True)
    phantoms = PhantomSet(
        count, seed, size, shard_size, lightings, look, dentition, mirrors, read_mix(mix), series, frames
    )
    rendered = write_phantoms(out, phantoms, address=address)
    typer.echo(f"{count} records in {out}, {rendered} shards rendered now")


def relight(
    source: Annotated[str, typer.Argument(help="Condition records with normal maps: shards, Parquet or a folder.")],
    out: Annotated[str, typer.Argument(help="Folder or URL for the condition shards.")],
    lightings: Annotated[int, typer.Option(min=1, max=100, help="Lighting maps per record.")] = 4,
    seed: Annotated[int, typer.Option(help="Seed of the lights.")] = 0,
    swing: Annotated[
        bool, typer.Option("--swing", help="One lamp that swings about the lens: every record becomes a series.")
    ] = False,
) -> None:
    """Write every record under other lights, shaded from its normals and depth.

    Exits 1 if some records cannot be relit.

    Example: dentgen relight conditions/ relit/ --lightings 3
    """
    announce(f"relight: {source} into {out}")
    from dentgen.relight.shards import Relighting, write_relit

    shards = write_relit(source, out, Relighting(lightings, seed, swing))
    problems = [line for shard in shards for line in shard.problems]
    for line in problems:
        typer.echo(shown_name(line), err=True)
    relit = sum(shard.records for shard in shards)
    typer.echo(f"{relit} records relit, {lightings} lightings each, from {len(shards)} shards, to {out}: "
               f"{len(problems)} problems")  # fmt: skip
    if problems:
        raise typer.Exit(1)


def sheet(
    source: Annotated[str, typer.Argument(help="Condition records: shards, Parquet or a folder.")],
    out: Annotated[str, typer.Argument(help="Image to write: .png, .jpg or .webp.")],
    count: Annotated[int, typer.Option(min=1, help="Records, drawn at random but always the same.")] = 24,
    size: Annotated[int, typer.Option(min=16, max=1024, help="Edge of each picture, pixels.")] = 96,
    columns: Annotated[int, typer.Option(min=1, help="Records side by side.")] = 2,
) -> None:
    """Draw records beside all their maps, to look at before a build.

    Example: dentgen sheet conditions/ sheet.png
    """
    announce(f"sheet: {source}")
    from dentgen.report.record_sheet import write_sheet

    drawn = write_sheet(source, out, count=count, size=size, columns=columns)
    typer.echo(f"{len(drawn)} records in {out}")
