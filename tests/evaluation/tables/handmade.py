"""A study made by hand: two candidates with planted figures, one with a hostile name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dentgen.evaluation.tables.candidates import Candidate, DecisionTable, Training
from dentgen.evaluation.tables.cost import Cost
from dentgen.evaluation.tables.figures import goals
from dentgen.evaluation.tables.spreads import Spread, spread
from dentgen.evaluation.tables.study import TableRow, TableStudy, leaders
from dentgen.evaluation.tables.training import TrainedBundle

HOSTILE = "<script>alert('x')</script>"
JUDGES: Mapping[str, object] = dict.fromkeys(("unet", "dilated"))
RECORDS, EDGE = 9, 8


def figures(judges: Mapping[str, object], *values: float) -> dict[str, Spread]:
    """Every figure with the same values."""
    return {name: spread(values) for name in goals(judges)}


def handmade_study(judges: Mapping[str, object] = JUDGES) -> TableStudy:
    """``plain`` leads in the first judge's mIoU by more than the spread; other figures are equal to the other's."""
    miou = next(iter(goals(judges)))
    rng = np.random.default_rng(0)
    rows = (
        Candidate("plain", ("sampling.steps=4",)),
        Candidate(HOSTILE, (f"sampling.prompt={HOSTILE}",), Training("t", ({"recipe": HOSTILE},))),
    )
    pictures = [rng.integers(0, 256, (RECORDS, EDGE, EDGE, 3)).astype(np.uint8) for _ in rows]
    measured = [
        figures(judges, 0.5, 0.6) | {miou: spread([0.9, 0.9])},
        figures(judges, 0.5, 0.6) | {"diversity": spread([float("nan")])},
    ]
    cost = Cost(steps=4, unet_evaluations=8, gflop=12.5, parameters=1234567)
    trained = (None, TrainedBundle("bundle", 1000, 2000, 30))
    table_rows = [
        TableRow(row, *rest)
        for row, *rest in zip(rows, measured, (cost, cost), (1.0, 2.0), trained, pictures, strict=True)
    ]
    return TableStudy(
        table=DecisionTable("T9", "Which <b> is best?", rows, "A note."),
        rows=table_rows,
        reference=dict.fromkeys(goals(judges), 0.95) | {"diversity": float("nan")},
        best=leaders({row.candidate.name: row.figures for row in table_rows}, goals(judges)),
        photos=rng.integers(0, 256, (RECORDS, EDGE, EDGE, 3)).astype(np.uint8),
        keys=[f"record-{number}" for number in range(RECORDS)],
        seeds=2,
    )
