"""``dentgen scans``: jaw scans as condition records."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from dentgen.cli.progress import announce
from dentgen.redaction import shown


def scans(
    source: Annotated[str, typer.Argument(help="Folder or URL of meshes: STL, PLY, OBJ, GLB, VTP, 3Shape DCM.")],
    out: Annotated[str, typer.Argument(help="Folder or URL for the condition shards.")],
    seed: Annotated[int, typer.Option(help="Seed of cameras and lamps.")] = 0,
    size: Annotated[int, typer.Option(min=16, max=2048, help="Edge of the maps, pixels.")] = 256,
    views: Annotated[
        str | None, typer.Option(metavar="VIEW,VIEW", help="frontal, left, right, upper-occlusal, lower-occlusal.")
    ] = None,
    lightings: Annotated[int, typer.Option(min=1, help="Lightings per view.")] = 1,
    license_: Annotated[str, typer.Option("--license", help="Licence of the scans.")] = "",
    axes: Annotated[
        str | None,
        typer.Option(metavar="LEFT,UP,FRONT", help="Of scans without labels: axes that point there, as +x,+z,-y."),
    ] = None,
    unit: Annotated[Literal["mm", "cm", "m", "inch"], typer.Option(help="Of scans without labels.")] = "mm",
    jaw: Annotated[
        Literal["upper", "lower"] | None, typer.Option(help="Of scans without labels whose names tell none.")
    ] = None,
    colours: Annotated[
        str | None,
        typer.Option(metavar="FILE.yaml", help='Labels in colours: a mapping of "#rrggbb" to an FDI number or gum.'),
    ] = None,
    look: Annotated[
        Literal["scan", "photo"], typer.Option(help="Pictures: casts, or photographs with gum, lips and palate.")
    ] = "scan",
    address: Annotated[str | None, typer.Option(help="Ray cluster to render on; default: this machine.")] = None,
) -> None:
    """Render jaw scans into condition records.

    Labels: groups of teeth named by FDI number, Teeth3DS's JSON beside the mesh, a property of PLY or VTP, or
    --colours. Scans without labels need --axes, and get no seg and fdi. NAME_upper and NAME_lower in bite become one
    scan. Exits 1 if a scan could not be used.

    Example: dentgen scans meshes/ conditions/ --lightings 2
    """
    announce(f"scans: {source} into {out}")
    from dentgen.ingest.scans.face_colours import read_colours
    from dentgen.ingest.scans.orientation import parse_orientation
    from dentgen.ingest.scans.run import ScanSet, parse_views, total, write_scans

    orientation = parse_orientation(axes, unit, jaw)
    meanings = None if colours is None else read_colours(colours)
    task = ScanSet(source, out, seed, size, parse_views(views), lightings, license_, orientation, meanings, look)
    results = write_scans(task, address=address)
    for result in results:
        if result.problem:
            typer.echo(shown(f"{result.name}: {result.problem}"), err=True)
    records, refused = total(results)
    typer.echo(f"{records} records of {len(results) - refused} scans, {refused} scans refused")
    if refused:
        raise typer.Exit(1)
