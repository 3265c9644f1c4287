"""The build report: one self-contained HTML page.

Text from sources is untrusted. The template escapes it, and the page's content security policy blocks every request and
every script except the page's own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from dentgen import storage
from dentgen.conditions.labels import BACKGROUND, DRAWN_CLASSES, SEG_CLASSES
from dentgen.documents.index import DatasetIndex
from dentgen.report.card.statements import provenance
from dentgen.report.html import formatting
from dentgen.report.html.balance import BalanceCounter, LabelBalance
from dentgen.report.html.counts import Summary, read_summary
from dentgen.report.html.gate import GateSummary, read_gate
from dentgen.report.html.pick_records import choose_records
from dentgen.report.html.pictures import RecordPictures, embed_records
from dentgen.report.html.speed import PAUSE, Speed, read_speed
from dentgen.report.html.speed_chart import draw_speed
from dentgen.report.html.usefulness import Usefulness, draw_usefulness, read_usefulness
from dentgen.shards.layout import REPORT
from dentgen.shards.plan import Plan, without_places
from dentgen.spec.build import BuildSpec

_TEMPLATE: Final = "report.html.j2"
_SCRIPTS: Final = ("lightbox.js", "facets.js")
_FOLDER: Final = Path(__file__).parent
#: Maximum rows of the long tables; the page names the files that hold the rest.
_MAX_ROWS: Final = {"shards": 50, "workers": 20, "runs": 20, "reasons": 20}
_MAX_LENGTH: Final = {"label": 200, "text": 2000}
#: Names and colours of the drawn classes; background, in whose colour all others are drawn, comes last.
_LEGEND: Final = (
    *((SEG_CLASSES[value], f"rgb{colour}") for value, colour in DRAWN_CLASSES.items() if value != BACKGROUND),
    ("everything else", f"rgb{DRAWN_CLASSES[BACKGROUND]}"),
)


def write_report(
    out: str, plan: Plan, index: DatasetIndex | None = None, rejected: Mapping[str, NDArray[np.uint8]] | None = None
) -> str:  # fmt: skip
    """Write the report of a sealed build.

    Args:
        out: The build.
        plan: Its plan.
        index: Index of the version; None: the latest.
        rejected: Pictures (H, W, 3) by key that the gate rejected; the best of them are shown.

    Returns:
        URL of the page.

    Raises:
        StorageError: If the build has not been sealed, or a shard or ledger record cannot be read.
        BuildError: If a shard is damaged.
    """
    summary = read_summary(out, plan, index)
    spec = without_places(plan.spec)  # people send reports around
    balance = BalanceCounter()
    records = embed_records(choose_records(out, summary.index, balance.add), spec.conditions.use)
    url = storage.join(out, REPORT)
    storage.overwrite(
        url,
        _render(
            out,
            plan,
            spec,
            summary,
            records,
            read_speed(out, plan),
            balance.balance(),
            read_gate(out, plan, summary.index, rejected),
            read_usefulness(out),
        ).encode(),
    )
    return url


def _render(
    out: str,
    plan: Plan,
    spec: BuildSpec,
    summary: Summary,
    records: list[RecordPictures],
    speed: Speed | None,
    balance: LabelBalance,
    gate: GateSummary | None,
    usefulness: Usefulness | None,
) -> str:
    place = storage.without_secrets(out)
    if not storage.is_remote(place):  # the page is published; the folders above the build are nobody's business
        place = storage.name_of(storage.absolute(place)) or place
    script = "".join((_FOLDER / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    return page_environment().get_template(_TEMPLATE).render(
        name=storage.name_of(place) or place,
        place=place,
        plan=plan,
        spec=spec,
        spec_yaml=yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=60),
        summary=summary,
        facets=summary.facets,
        balance=balance,
        gate=gate,
        usefulness=usefulness,
        usefulness_charts=_marked(draw_usefulness(usefulness)) if usefulness else {},
        records=records,
        legend=_LEGEND,
        speed=speed,
        charts=_marked(draw_speed(speed)) if speed else {},
        pause=PAUSE,
        split=_split_to_load(summary),
        provenance=provenance(plan),
        script=Markup(script),  # noqa: S704
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        max_rows=_MAX_ROWS,
        max_length=_MAX_LENGTH,
    )  # fmt: skip


def _marked(charts: dict[str, str]) -> dict[str, Markup]:
    """SVG of our own, which the template need not escape."""
    return {shape: Markup(svg) for shape, svg in charts.items()}  # noqa: S704


@cache
def page_environment(*folders: Path) -> Environment:
    """Templates of a page: those of these folders and of this one, escaped and strict; compiled once in a process."""
    environment = Environment(
        loader=FileSystemLoader([*folders, _FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "number": formatting.number,
        "rate": formatting.rate,
        "byte_size": formatting.byte_size,
        "share": formatting.share,
        "duration": formatting.duration,
        "clock": formatting.clock,
        "moment": formatting.moment,
        "shortened": formatting.shortened,
        "literal": repr,
    }
    environment.filters.update(filters)
    return environment


def _split_to_load(summary: Summary) -> str:
    """A split for the loading example, "" if the samples have none."""
    return "train" if "train" in summary.splits else next(iter(summary.splits), "")
