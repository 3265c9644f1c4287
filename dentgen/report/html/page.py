"""The build report: one HTML page that loads nothing from anywhere, to look at, keep and send.

Everything that came from a source is untrusted: templates escape it, and the page's own policy lets nothing load and no
script run but the one that stands in it. Refuses to know how its numbers are counted.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any, Final

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dentgen import storage
from dentgen.conditions.labels import APPLIANCE_RGB, BACKGROUND_RGB, GUM_RGB, RESTORATION_RGB, TOOTH_RGB
from dentgen.report.html import formatting
from dentgen.report.html.counts import Summary, read_summary
from dentgen.report.html.pick_records import choose_records
from dentgen.report.html.pictures import RecordPictures, embed_records
from dentgen.report.html.speed import PAUSE, Speed, read_speed
from dentgen.report.html.speed_chart import draw_speed
from dentgen.shards.plan import Plan
from dentgen.spec.build import BuildSpec

REPORT: Final = "report.html"
_TEMPLATE, _SCRIPT = "report.html.j2", "lightbox.js"
_FOLDER: Final = Path(__file__).parent
#: Rows of the long tables; the rest is in the files that the page names.
_ROWS: Final = {"shards": 50, "workers": 20, "runs": 20, "reasons": 20}
_LONGEST: Final = {"label": 200, "text": 2000}
_LEGEND: Final = tuple(
    (name, f"rgb{colour}")
    for name, colour in (
        ("gum", GUM_RGB),
        ("tooth", TOOTH_RGB),
        ("restoration", RESTORATION_RGB),
        ("appliance", APPLIANCE_RGB),
        ("everything else", BACKGROUND_RGB),
    )
)


def write_report(out: str, plan: Plan) -> str:
    """Write the report of a sealed build.

    Args:
        out: The build.
        plan: Its plan.

    Returns:
        URL of the page.

    Raises:
        StorageError: If the build has not been sealed, or something that its index names is gone.
    """
    summary = read_summary(out, plan)
    spec = _public_spec(plan)
    records = embed_records(choose_records(out, summary.index), spec.conditions.use)
    url = storage.join(out, REPORT)
    storage.overwrite(url, _render(out, plan, spec, summary, records, read_speed(out, plan)).encode())
    return url


def _render(
    out: str, plan: Plan, spec: BuildSpec, summary: Summary, records: list[RecordPictures], speed: Speed | None
) -> str:
    place = storage.without_secrets(out)
    script = (_FOLDER / _SCRIPT).read_text(encoding="utf-8")
    return _environment().get_template(_TEMPLATE).render(
        name=storage.name_of(place) or place,
        place=place,
        plan=plan,
        spec=spec,
        spec_yaml=yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=60),
        summary=summary,
        records=records,
        legend=_LEGEND,
        speed=speed,
        charts={shape: Markup(svg) for shape, svg in draw_speed(speed).items()} if speed else {},  # noqa: S704
        pause=PAUSE,
        split=_split_to_load(summary),
        script=Markup(script),  # noqa: S704
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        rows=_ROWS,
        longest=_LONGEST,
    )  # fmt: skip


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
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
        "moment": formatting.moment,
        "shortened": formatting.shortened,
        "literal": repr,
    }
    environment.filters.update(filters)
    return environment


def _public_spec(plan: Plan) -> BuildSpec:
    """The spec in its usual order; a password or a signature in a URL is not for a page that people send around."""
    spec = BuildSpec.model_validate(plan.spec)
    source = spec.source.model_copy(update={"path": storage.without_secrets(spec.source.path)})
    output = spec.output.model_copy(update={"path": storage.without_secrets(spec.output.path)})
    return spec.model_copy(update={"source": source, "output": output})


def _split_to_load(summary: Summary) -> str:
    """A split that the example may ask for, "" if the samples have none."""
    return "train" if "train" in summary.splits else next(iter(summary.splits), "")
