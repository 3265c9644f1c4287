"""``dentgen export``: a build or a condition set in another layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from dentgen.cli.progress import announce
from dentgen.errors import SpecError
from dentgen.progress import tracked
from dentgen.redaction import shown

if TYPE_CHECKING:
    from dentgen.export.marking import Marker
    from dentgen.export.run import ExportOutcome
    from dentgen.export.signing import Signer

FormatName = Literal["coco", "yolo-segment", "yolo-detect", "yolo-semantic", "nnunet", "monai", "voc", "parquet", "csv"]


def export(
    source: Annotated[str, typer.Argument(help="A finished build, or condition records with pictures.")],
    layout: Annotated[FormatName, typer.Argument(metavar="FORMAT", help=", ".join(get_args(FormatName)))],
    destination: Annotated[str, typer.Argument(help="Folder or URL to write to.")],
    masks: Annotated[Literal["rle", "polygon"], typer.Option(help="Masks of coco: exact, or polygons.")] = "rle",
    teeth: Annotated[
        Literal["numbers", "one"], typer.Option(help="Classes of yolo-segment and yolo-detect: FDI numbers, or one.")
    ] = "numbers",
    sign: Annotated[
        Path | None, typer.Option(metavar="CERT.pem", help="Sign the copies of a build's pictures (C2PA); needs --key.")
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="KEY.pem", help="Private key of the certificate.")] = None,
    watermark: Annotated[
        Path | None,
        typer.Option(metavar="KEYFILE", help="Invisible watermark in the copies of a build's pictures, with this key."),
    ] = None,
    selection: Annotated[
        str | None, typer.Option(metavar="FILE", help="Only the samples that 'dentgen select' chose of the build.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: all cores.")] = None,
) -> None:
    """Write a build or a condition set in the layout that a trainer reads.

    An interrupted export continues. What the layout cannot hold is counted at the end. Exits 1 if records were
    rejected.

    Example: dentgen export out/demo coco out/coco
    """
    announce(f"export: {layout} into {destination}")
    from dentgen.export.run import Export
    from dentgen.export.run import export as write

    task = Export(source, destination, layout, masks, teeth, _signer(sign, key), _marker(watermark), selection)
    outcome = write(task, workers, lambda shards: tracked(shards, "exporting", "shard"))
    for rejection in outcome.rejected:
        typer.echo(shown(f"{rejection.key}: {rejection.reason}"), err=True)
    typer.echo(_summary(outcome))
    if watermark is not None and outcome.written:
        typer.echo("the pictures carry a watermark")
    if outcome.rejected:
        raise typer.Exit(1)


def _signer(certificates: Path | None, key: Path | None) -> Signer | None:
    """Who signs.

    Raises:
        SpecError: If one of the two files is missing.
    """
    if certificates is None and key is None:
        return None
    if certificates is None or key is None:
        given, other = ("--sign", "--key") if key is None else ("--key", "--sign")
        raise SpecError(key=given, found=f"no {other}", expected="a certificate and its key")
    from dentgen.export.signing import Signer

    return Signer(str(certificates), str(key))


def _marker(key: Path | None) -> Marker | None:
    """What marks pictures."""
    if key is None:
        return None
    from dentgen.export.marking import Marker

    return Marker(str(key))


def _summary(outcome: ExportOutcome) -> str:
    lost = []
    if outcome.mean_iou < 1:
        lost.append(f"masks come back with an IoU of {outcome.mean_iou:.4f}, the worst with {outcome.worst_iou:.2f}")
    if outcome.holes:
        lost.append(f"{outcome.holes} masks had holes, which are filled")
    if outcome.split:
        lost.append(f"{outcome.split} masks had several parts, which are joined by lines")
    if outcome.unnumbered:
        lost.append(f"{outcome.unnumbered} pixels of teeth without a number have no instance")
    if outcome.ignored:
        lost.append(f"{outcome.ignored} pixels without annotation count as background")
    counts = f"{outcome.written} samples written, {len(outcome.rejected)} rejected"
    counts += "".join(f"; {name} {samples}" for name, samples in outcome.splits.items())
    notes = [f"{outcome.left_out} samples had been rejected by the build"] if outcome.left_out else []
    if outcome.shared_groups:
        notes.append(f"{outcome.shared_groups} groups are in several splits")
    return "\n".join([counts, *notes, *(f"lost: {loss}" for loss in lost)])
