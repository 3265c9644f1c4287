"""``dentgen watermark``: which pictures carry the watermark of a key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dentgen.cli.measurement import JsonFile, prepare_folder
from dentgen.errors import ConditionError, SpecError, StorageError
from dentgen.redaction import shown_name

if TYPE_CHECKING:
    from dentgen.export.watermark import Signs

_SUFFIXES: Final = {".png", ".jpg", ".jpeg", ".webp"}


def watermark(
    key: Annotated[Path, typer.Argument(metavar="KEYFILE", help="Key that the pictures were exported with.")],
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE...", help="Pictures, or folders of pictures.")],
    file: JsonFile = None,
) -> None:
    """Say which pictures carry the watermark of a key.

    z tells how clearly, in standard deviations of what pictures without it have. Exits 1 if a picture does not carry
    it, or cannot be read.

    Example: dentgen watermark watermark.key out/marked/images
    """
    from dentgen.export.marking import pattern_in
    from dentgen.export.watermark import THRESHOLD

    prepare_folder(file)
    signs, figures = pattern_in(str(key)), []
    for picture in _found(pictures):
        figures.append(_figures(picture, signs))
        _print(figures[-1])
    if file is not None:
        file.write_text(json.dumps({"threshold": THRESHOLD, "pictures": figures}, indent=1) + "\n")
    count = sum(figure["marked"] for figure in figures)
    typer.echo(f"{count} of {len(figures)} pictures are marked")
    if count < len(figures):
        raise typer.Exit(1)


def _found(places: list[Path]) -> Iterator[Path]:
    """The pictures themselves, those of folders sorted.

    Raises:
        SpecError: If a folder has none, which would look as if all of them were marked.
    """
    for place in places:
        inside = sorted(path for path in place.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
        if place.is_dir() and not inside:
            raise SpecError(file=str(place), found="no pictures", expected=f"files in {', '.join(sorted(_SUFFIXES))}")
        yield from inside if place.is_dir() else [place]


def _figures(picture: Path, signs: Signs) -> dict[str, Any]:
    """What is known of a picture: its score, or why it has none."""
    from dentgen.export.watermark import THRESHOLD, score
    from dentgen.ingest.photos.picture import read_picture

    try:
        found = score(read_picture(str(picture)).pixels, signs, str(picture))
    except (ConditionError, StorageError) as error:
        return {"file": str(picture), "z": None, "marked": False, "problem": str(error)}
    return {"file": str(picture), "z": round(found, 2), "marked": found > THRESHOLD}


def _print(figures: dict[str, Any]) -> None:
    if "problem" in figures:
        typer.echo(shown_name(figures["problem"]), err=True)
    else:
        kind = "marked" if figures["marked"] else "not marked"
        typer.echo(f"{shown_name(figures['file'])}: z {figures['z']:.1f}, {kind}")
