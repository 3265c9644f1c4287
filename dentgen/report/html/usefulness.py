"""Whether a build's quality gate makes its pictures more useful: measured figures, and the curve of kept share."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import pygal
from pydantic import Field, ValidationError

from dentgen import storage
from dentgen.documents.document import Document
from dentgen.errors import faults_of
from dentgen.report.html.svg_chart import SIZES, bare_svg, chart_style
from dentgen.shards import layout
from dentgen.shards.index_reader import index_sha256

_LOG = logging.getLogger(__name__)
#: Prefix of figures of the curve; the kept percentage follows, ``_spread`` marks the deviation over seeds.
_CURVE: Final = "curve_"
_SPREAD: Final = "_spread"
_KINDS: Final = ("accepted", "rejected", "all")


class UsefulnessRecord(Document):
    """``gate_usefulness.json``: figures of ``dentgen evaluate gate-usefulness`` for one version of a build."""

    format: Literal[1] = 1
    index_sha256: str = Field(description="sha256 of the index of the version that was measured.")
    command: str = Field(description="Measures them again; OUT is the build, REFERENCE labelled pictures.")
    figures: dict[str, float] = Field(description="Mean IoU by what was learnt on, and its spread over seeds.")


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Mean IoU, and its deviation over seeds, of networks that learnt on the best ``kept`` percent of the pictures."""

    kept: int
    miou: float
    spread: float


@dataclass(frozen=True, slots=True)
class Usefulness:
    """What was measured.

    Attributes:
        command: Command that measures it again.
        pictures: Pictures of each kind.
        kinds: Mean IoU and deviation after learning on accepted, rejected and mixed pictures.
        curve: Mean IoU by kept share, the largest first.
    """

    command: str
    pictures: int
    kinds: dict[str, tuple[float, float]]
    curve: tuple[CurvePoint, ...]


def store_usefulness(out: str, command: str, figures: dict[str, float]) -> None:
    """Keep figures beside a build, so that its report shows them.

    Raises:
        StorageError: If there is no finished build, or it cannot be written to.
    """
    record = UsefulnessRecord(index_sha256=index_sha256(out), command=command, figures=figures)
    storage.overwrite(storage.join(out, layout.GATE_USEFULNESS), record.model_dump_json(indent=1).encode())


def read_usefulness(out: str) -> Usefulness | None:
    """What was stored for a build; None if there is nothing, or it is damaged or of an earlier version.

    Raises:
        StorageError: If the storage cannot be reached.
    """
    url = storage.join(out, layout.GATE_USEFULNESS)
    content = storage.read_if_exists(url)
    if content is None:
        return None
    try:
        record = UsefulnessRecord.model_validate_json(content)
        found = _usefulness(record)
    except (ValidationError, KeyError) as error:
        faults = faults_of(error) if isinstance(error, ValidationError) else f"no figure {error}"
        _LOG.warning("%s: not shown: %s", storage.without_secrets(url), faults)
        return None
    return found if record.index_sha256 == index_sha256(out) else None


def _usefulness(record: UsefulnessRecord) -> Usefulness:
    figures = record.figures
    kinds = {kind: (figures[f"miou_{kind}"], figures[f"miou_{kind}{_SPREAD}"]) for kind in _KINDS}
    shares = [name.removeprefix(_CURVE) for name in figures if name.startswith(_CURVE) and not name.endswith(_SPREAD)]
    curve = [
        CurvePoint(int(share), figures[f"{_CURVE}{share}"], figures[f"{_CURVE}{share}{_SPREAD}"])
        for share in sorted(shares, reverse=True)
    ]
    return Usefulness(record.command, int(figures["pictures"]), kinds, tuple(curve))


def draw_usefulness(found: Usefulness) -> dict[str, str]:
    """Draw the curve with a bar of one deviation to either side at every point.

    Returns:
        SVG elements by shape, ``wide`` and ``narrow``, which need no escaping in HTML.
    """
    return {shape: _draw(found.curve, shape) for shape in SIZES}


def _draw(curve: tuple[CurvePoint, ...], shape: str) -> str:
    width, height, font_size = SIZES[shape]
    low = min(point.miou - point.spread for point in curve)
    high = max(point.miou + point.spread for point in curve)
    low, high = math.floor(50 * low) / 50, math.ceil(50 * high) / 50
    ticks = [round(low + 0.02 * n, 2) for n in range(round((high - low) / 0.02) + 1)]
    chart: Any = pygal.XY(
        width=width, height=height, style=chart_style(font_size), js=(), show_legend=False, margin=6,
        xrange=(0, 100), range=(low, high), dots_size=4, truncate_label=-1,
        classes=(..., shape), disable_xml_declaration=True,
        x_labels=[{"value": point.kept, "label": f"{point.kept} %"} for point in curve],
        y_labels=[{"value": tick, "label": f"{tick:.2f}"} for tick in ticks],
    )  # fmt: skip
    chart.add("", [(point.kept, point.miou) for point in curve])
    for point in curve:
        ends = [(point.kept, point.miou - point.spread), (point.kept, point.miou + point.spread)]
        chart.add("", ends, show_dots=False)
    return bare_svg(chart.render_tree())
