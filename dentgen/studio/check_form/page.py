"""The form of a check sheet as one page: pictures beside their labels, keys to judge them, answers to save.

What the gate said is not in the page, so nobody who fills it in can know.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from dentgen.conditions.labels import BACKGROUND, DRAWN_CLASSES, SEG_CLASSES, TOOTH
from dentgen.curation.check_sheet import CheckSheet
from dentgen.curation.check_verdicts import REASONS
from dentgen.report.html.page import page_environment
from dentgen.report.html.pictures import draw_conditions, picture_member
from dentgen.shards.index_reader import read_index
from dentgen.shards.reader import Members, read_shard, tar_samples

_FOLDER: Final = Path(__file__).parent
_PAGE: Final = "check_form.html.j2"
_SCRIPT: Final = "check_form.js"
#: Larger pictures are embedded as WebP, in their full resolution.
_PICTURE_BYTES: Final = 100_000
_QUALITY: Final = 92
_LEGEND: Final = tuple(
    (SEG_CLASSES[value], f"rgb{colour}") for value, colour in DRAWN_CLASSES.items() if value != BACKGROUND
)


@dataclass(frozen=True, slots=True)
class FormPicture:
    """One picture of the form.

    Attributes:
        key: Key of its sample.
        picture: It as a ``data:`` URI.
        labels: Its label map in colours, likewise.
        outline: The outline of its teeth as a transparent picture, likewise.
    """

    key: str
    picture: str
    labels: str
    outline: str


def form_page(out: str, sheet: CheckSheet, *, served: bool = False) -> str:
    """The page of a sheet.

    Args:
        out: The build.
        sheet: Its sheet.
        served: Whether the studio serves it, and takes the answers; otherwise the page saves them as a file.

    Raises:
        BuildError: If a shard is damaged.
        StorageError: If a shard cannot be read.
    """
    script = form_script()
    pictures = list(_pictures(out, sheet))
    return page_environment(_FOLDER).get_template(_PAGE).render(
        pictures=pictures,
        reasons=list(REASONS.items()),
        legend=_LEGEND,
        data=_data(sheet),
        script=Markup(script),  # noqa: S704
        policy=form_policy(served=served),
        served=served,
    )  # fmt: skip


def form_script() -> str:
    """The form's script, the same in every page."""
    return (_FOLDER / _SCRIPT).read_text(encoding="utf-8")


def form_policy(*, served: bool) -> str:
    """What the page may do: run this script, show what it holds, and send answers if it is served."""
    connect = "connect-src 'self'; " if served else ""
    digest = base64.b64encode(hashlib.sha256(form_script().encode()).digest()).decode()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; {connect}base-uri 'none'; form-action 'none'"
    )


def _data(sheet: CheckSheet) -> dict[str, Any]:
    """What the script writes into the file beside the verdicts."""
    return {"format": 1, "index_sha256": sheet.index_sha256, "count": sheet.count, "seed": sheet.seed}


def _pictures(out: str, sheet: CheckSheet) -> Iterator[FormPicture]:
    """The pictures in the order of the sheet; every shard is read once."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for entry in sheet.entries:
        wanted[entry.shard].add(entry.key)
    found: dict[str, FormPicture] = {}
    for shard in read_index(out).shards:
        if shard.name in wanted:
            samples = tar_samples(read_shard(out, shard))
            found |= {key: _picture(key, own) for key, own in samples if key in wanted[shard.name]}
    yield from (found[entry.key] for entry in sheet.entries)


def _picture(key: str, members: Members) -> FormPicture:
    labels = draw_conditions(members).get("segmentation")
    teeth = np.asarray(Image.open(io.BytesIO(members["seg.png"]))) == TOOTH if "seg.png" in members else None
    return FormPicture(
        key,
        _picture_uri(*picture_member(members)),
        "" if labels is None else _png_uri(labels),
        "" if teeth is None else _png_uri(_outlined(teeth)),
    )


def _outlined(inside: NDArray[np.bool_]) -> Image.Image:
    """The pixels of a mask (H, W) that touch others, drawn on transparency."""
    padded = np.pad(inside, 1, mode="edge")
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    drawn = np.zeros((*inside.shape, 4), np.uint8)
    drawn[inside & ~core] = (0, 230, 255, 255)
    return Image.fromarray(drawn)


def _picture_uri(media: str, content: bytes) -> str:
    """A picture in its full resolution: whoever judges blur must see it."""
    if len(content) > _PICTURE_BYTES:
        buffer = io.BytesIO()
        Image.open(io.BytesIO(content)).save(buffer, format="WEBP", quality=_QUALITY, method=4)
        media, content = "image/webp", buffer.getvalue()
    return f"data:{media};base64,{base64.b64encode(content).decode()}"


def _png_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
