"""Table T1 as aligned text and as one self-contained HTML file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape
from numpy.typing import NDArray
from PIL import Image

from dentgen.evaluation.solvers import KL, Row, SolverStudy

_SHOWN_RECORDS: Final = 4


def table_lines(study: SolverStudy) -> list[str]:
    """Format the table and the decoders' speed as aligned text."""
    names = [name for name in Row.__slots__ if name not in {"sampler", "decoder"}]
    lines = [f"{'sampler':12s} {'decoder':16s} " + " ".join(f"{name:>11s}" for name in names)]
    for row in (*study.rows, study.reference):
        cells = " ".join(f"{getattr(row, name):11.3f}" for name in names)
        lines.append(f"{row.sampler:12s} {row.decoder:16s} {cells}")
    return [*lines, *speed_lines(study)]


def speed_lines(study: SolverStudy) -> list[str]:
    """Format the speed of every decoder but KL, relative to KL."""
    return [
        f"decoder {name}: {speed:.1f} times as fast as KL, {study.build_speed[name]:.1f} times in a build's batches"
        for name, speed in study.decoder_speed.items()
        if name != KL
    ]


def write_study_page(study: SolverStudy, title: str, file: Path) -> None:
    """Write the table, with images of a few records for every row, as one HTML file without external resources."""
    environment = Environment(loader=PackageLoader("dentgen.evaluation"), autoescape=select_autoescape(["j2"]))
    shown = _spread(len(study.keys))
    page = environment.get_template("solver_study.html.j2").render(
        title=title,
        study=study,
        speeds=speed_lines(study),
        strips={names: _strip(images[shown]) for names, images in study.pictures.items()},
        photos=_strip(study.photos[shown]),
        keys=[study.keys[i] for i in shown],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page)


def _spread(count: int) -> Sequence[int]:
    """Evenly spaced record indices, so that several views are among them."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(_SHOWN_RECORDS, count))})


def _strip(images: NDArray[np.uint8]) -> str:
    """Images side by side as a PNG data URI."""
    content = io.BytesIO()
    Image.fromarray(np.concatenate(list(images), 1)).save(content, "PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
