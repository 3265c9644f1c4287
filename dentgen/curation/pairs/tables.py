"""The table of panels and the table of pairs: rows of plain values, and their Parquet files."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dentgen import storage
from dentgen.conditions.labels import tissue_classes
from dentgen.curation.pairs.filter import PairVerdict, Panel, PanelVerdict
from dentgen.curation.pairs.limits import PANEL_FIGURES
from dentgen.errors import StorageError
from dentgen.quality.metrics import light_levels_correlation
from dentgen.quality.relit_pairs import inner_teeth
from dentgen.relight.shading import ClayLighting
from dentgen.shards.parquet import UNREADABLE, table_of

PANELS: Final = "panels.parquet"
PAIRS: Final = "pairs.parquet"

Row = dict[str, Any]
_DIGITS: Final = 4
_TEXT, _NUMBER, _WHOLE = pa.string(), pa.float64(), pa.int32()
_FIGURES: Final = [(name, _NUMBER) for name in PANEL_FIGURES]
PANEL_SCHEMA: Final = pa.schema(
    [
        ("key", _TEXT), ("record", _TEXT), ("panel", _WHOLE), ("layout", _TEXT), ("shard", _TEXT),
        ("status", _TEXT), ("reason", _TEXT), ("value", _NUMBER), ("threshold", _NUMBER),
        ("style", _TEXT), ("light_x", _NUMBER), ("light_y", _NUMBER), ("light_z", _NUMBER), *_FIGURES,
    ]
)  # fmt: skip
PAIR_SCHEMA: Final = pa.schema(
    [
        ("reference", _TEXT), ("target", _TEXT), ("record", _TEXT), ("layout", _TEXT), ("group", _TEXT),
        ("split", _TEXT), ("style_reference", _TEXT), ("style_target", _TEXT), ("turn_degrees", _NUMBER),
        ("light_level_delta", _NUMBER), ("light_map_correlation", _NUMBER),
        ("agreement", _NUMBER), ("identity", _NUMBER), ("light_difference", _NUMBER), ("score", _NUMBER),
    ]
)  # fmt: skip


def panel_row(key: str, record: str, panel: int, layout: str, verdict: PanelVerdict, lighting: ClayLighting) -> Row:
    """A panel, accepted or rejected, with every figure that was measured."""
    found = verdict.rejection
    x, y, z = main_direction(lighting)
    figures: Row = {name: _number(verdict.figures.get(name)) for name in PANEL_FIGURES}
    return {
        "key": key, "record": record, "panel": panel, "layout": layout, "shard": "",
        "status": "accepted" if found is None else "rejected", "reason": found.reason if found else "",
        "value": _number(found.value) if found else None, "threshold": found.threshold if found else None,
        "style": lighting.style, "light_x": _number(x), "light_y": _number(y), "light_z": _number(z), **figures,
    }  # fmt: skip


def pair_row(
    verdict: PairVerdict, panels: Sequence[Panel], keys: Sequence[str], lightings: Sequence[ClayLighting],
    *, record: str, layout: str,
) -> Row:  # fmt: skip
    """An accepted ordered pair, with the differences of its lights."""
    i, j = verdict.reference, verdict.target
    one, other, maps = lightings[i], lightings[j], panels[i].record
    inside = inner_teeth(tissue_classes(maps.conditions["segmentation"].astype(np.uint8)))
    here, there = (panels[k].record.conditions["lighting"][inside].astype(np.float64) for k in (i, j))
    cosine = float(np.dot(main_direction(one), main_direction(other)))
    return {
        "reference": keys[i], "target": keys[j], "record": record, "layout": layout, "group": maps.group,
        "split": maps.split, "style_reference": one.style, "style_target": other.style,
        "turn_degrees": _number(math.degrees(math.acos(min(1.0, max(-1.0, cosine))))),
        "light_level_delta": _number(float(there.mean() - here.mean())),
        "light_map_correlation": _number(light_levels_correlation(here, there)),
        **{name: _number(verdict.figures.get(name)) for name in ("agreement", "identity", "light_difference", "score")},
    }  # fmt: skip


def main_direction(lighting: ClayLighting) -> tuple[float, float, float]:
    """Unit vector (x right, y up, z to the viewer) of the mean direction of all lamps, weighted by their strength."""
    lamps = [(np.array(lamp.direction) / np.linalg.norm(lamp.direction), lamp.strength) for lamp in lighting.lights]
    total: NDArray[np.float64] = np.sum([direction * strength for direction, strength in lamps], 0)
    length = float(np.linalg.norm(total))
    x, y, z = (total / length if length > 0 else total).tolist()
    return x, y, z


def parquet_bytes(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> bytes:
    """A Parquet file of rows; equal rows give equal bytes."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), buffer, compression="zstd")
    return buffer.getvalue()


def read_pairs(place: str) -> list[tuple[str, str]]:
    """Keys of reference and target of every pair of a table.

    Raises:
        StorageError: If it cannot be read or is no table of pairs.
    """
    content = storage.read_bytes(place)
    try:
        table = table_of(content, ["reference", "target"])
    except UNREADABLE as error:
        raise StorageError(
            file=storage.without_secrets(place),
            found=str(error)[:200],
            expected="a table of pairs, as dentgen pairs writes",
        ) from error
    return list(zip(table["reference"].to_pylist(), table["target"].to_pylist(), strict=True))


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, _DIGITS)
