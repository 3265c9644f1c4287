"""``dentgen photos``: annotated photographs as condition records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dentgen.cli.progress import announce
from dentgen.redaction import shown

PhotoFormat = Literal["supervisely", "coco", "yolo", "labelme", "cvat", "label-studio", "masks"]


def photos(
    source: Annotated[str, typer.Argument(help="Folder or URL of photographs and their annotations.")],
    out: Annotated[
        str | None, typer.Argument(help="Folder or URL for the condition shards; with --inspect a YAML file.")
    ] = None,
    meanings: Annotated[str | None, typer.Option(help="YAML file that says what every label means.")] = None,
    *,
    inspect: Annotated[bool, typer.Option("--inspect", help="Draft that file and stop.")] = False,
    format_: Annotated[
        PhotoFormat | None, typer.Option("--format", help="Annotation format; default: told by the files.")
    ] = None,
    license_: Annotated[str, typer.Option("--license", help="Licence of the photographs.")] = "",
    name_key: Annotated[
        Path | None,
        typer.Option(
            help="Replace names of pictures and patients by digests with the secret in this file, or a new one."
        ),
    ] = None,
    edge: Annotated[int | None, typer.Option(min=16, max=10_000, help="Longer edge of the records, pixels.")] = None,
    shard_size: Annotated[int, typer.Option(min=1, help="Records per shard.")] = 100,
) -> None:
    """Turn labelled photographs into condition records: classes, tooth numbers, findings, an estimated lighting map.

    Reads Supervisely, COCO (and DENTEX), YOLO outlines, LabelMe, CVAT, Label Studio, and mask images. Exits 1 if
    something could not be used.

    Example: dentgen photos annotated/ conditions/ --meanings meanings.yaml
    """
    if inspect:
        _draft(source, out, format_)
        return
    if out is None or meanings is None:
        raise typer.BadParameter("OUT and --meanings are needed; --inspect drafts the file of meanings")
    announce(f"photos: {source} into {out}")
    from dentgen.ingest.photos.meaning import read_meanings
    from dentgen.ingest.photos.names import read_name_key
    from dentgen.ingest.photos.run import PhotoSet, write_photos

    secret = None if name_key is None else read_name_key(name_key, out)
    task = PhotoSet(source, out, read_meanings(meanings), format_, license_, secret, edge, shard_size)
    outcome = write_photos(task)
    for refusal in outcome.refused:
        typer.echo(shown(f"{refusal.name}: {refusal.reason}"), err=True)
    for kind, count in sorted(outcome.skipped.items()):
        typer.echo(shown(f"no areas: {count} of kind {kind}"), err=True)
    if outcome.shared_groups:
        listed = ", ".join(outcome.shared_groups[:5])
        typer.echo(shown(f"in several splits: {len(outcome.shared_groups)} groups, such as {listed}"), err=True)
    typer.echo(f"{outcome.written} records written, {len(outcome.refused)} refused")
    if outcome.refused:
        raise typer.Exit(1)


def _draft(source: str, out: str | None, photo_format: PhotoFormat | None) -> None:
    """Write a draft, or print it; a file that is there is somebody's work."""
    from dentgen import storage
    from dentgen.errors import SpecError
    from dentgen.ingest.photos.meaning import draft
    from dentgen.ingest.photos.run import labels_of

    labels, refused = labels_of(source, photo_format)
    for refusal in refused:
        typer.echo(shown(f"{refusal.name}: {refusal.reason}"), err=True)
    text = draft(labels)
    if out is None:
        typer.echo(text, nl=False)
    elif not storage.put_if_absent(out, text.encode()):
        raise SpecError(file=out, found="a file", expected="a new file")
    else:
        typer.echo(f"{len(labels)} labels drafted in {out}")
