"""The filter over a folder of panels: it writes the table of panels and the table of pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dentgen import storage
from dentgen.curation.pairs.filter import PairVerdict, PanelVerdict, Scorer, judge_panels
from dentgen.curation.pairs.limits import PairLimits
from dentgen.curation.pairs.panel_shards import PanelParameters, PanelSet, read_panel_sets, read_parameters
from dentgen.curation.pairs.tables import (
    PAIR_SCHEMA,
    PAIRS,
    PANEL_SCHEMA,
    PANELS,
    Row,
    pair_row,
    panel_row,
    parquet_bytes,
)
from dentgen.models.judges import load_judges
from dentgen.progress import tracked
from dentgen.relight.shading import draw_lightings


@dataclass(frozen=True, slots=True)
class FilteredPairs:
    """What the filter left: planned = accepted + rejected.

    Attributes:
        layout: Layout of the panels.
        planned, accepted: Panels.
        pairs: Ordered pairs.
        reasons: Rejected panels by reason.
    """

    layout: str
    planned: int
    accepted: int
    pairs: int
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def acceptance(self) -> float:
        """Share of accepted panels, 0..1."""
        return self.accepted / self.planned if self.planned else 0.0


def filter_panels(
    out: str, limits: PairLimits, judges: str = "embedded", scorer: Scorer | None = None, records: int | None = None
) -> FilteredPairs:
    """Judge all panels of a folder, and write ``panels.parquet`` and ``pairs.parquet`` anew.

    Args:
        out: Folder or URL of panels.
        limits: What panels and pairs must reach.
        judges: Folder of judges.
        scorer: Rates pairs in addition; its values are recorded as ``score``.
        records: Number of records, for the progress.

    Raises:
        BundleError: If the judges cannot be loaded.
        ConditionError: If a shard of panels is damaged.
        SpecError: If the folder holds no panels of dentgen's.
    """
    parameters, loaded = read_parameters(out), load_judges(judges)
    panels: list[Row] = []
    pairs: list[Row] = []
    sets = read_panel_sets(out, parameters.lights)
    for one in tracked(sets, "filtering", "record", records):
        verdicts, accepted = judge_panels(one.panels, loaded, limits, scorer)
        rows = _rows(one, parameters, verdicts, accepted)
        panels += rows[0]
        pairs += rows[1]
    storage.overwrite(storage.join(out, PANELS), parquet_bytes(panels, PANEL_SCHEMA))
    storage.overwrite(storage.join(out, PAIRS), parquet_bytes(pairs, PAIR_SCHEMA))
    return _summary(parameters.layout, panels, len(pairs))


def _rows(
    one: PanelSet, parameters: PanelParameters, verdicts: list[PanelVerdict], accepted: list[PairVerdict]
) -> tuple[list[Row], list[Row]]:
    lightings = draw_lightings(parameters.seed, one.record, parameters.lights)
    numbered = enumerate(zip(one.keys, verdicts, lightings, strict=True))
    panels = [
        {**panel_row(key, one.record, number, parameters.layout, verdict, lighting), "shard": one.shard}
        for number, (key, verdict, lighting) in numbered
    ]
    named = {"record": one.record, "layout": parameters.layout}
    return panels, [pair_row(pair, one.panels, one.keys, lightings, **named) for pair in accepted]


def _summary(layout: str, panels: list[dict[str, Any]], pairs: int) -> FilteredPairs:
    reasons = Counter(row["reason"] for row in panels if row["status"] == "rejected")
    accepted = sum(row["status"] == "accepted" for row in panels)
    return FilteredPairs(layout, len(panels), accepted, pairs, dict(sorted(reasons.items())))
