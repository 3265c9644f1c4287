"""Table T1 as one HTML file, pictures inside. Refuses to know how anything was measured."""

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

from dentgen.evaluation.solvers import SolverStudy, speed_lines

_SHOWN: Final = 4


def write_study_page(study: SolverStudy, title: str, file: Path) -> None:
    """Write the table with some records' pictures of every row."""
    environment = Environment(loader=PackageLoader("dentgen.evaluation"), autoescape=select_autoescape(["j2"]))
    shown = _spread(len(study.keys))
    strips = {names: _strip(pictures[shown]) for names, pictures in study.pictures.items()}
    page = environment.get_template("solver_study.html.j2").render(
        title=title,
        study=study,
        speeds=speed_lines(study),
        strips=strips,
        photos=_strip(study.photos[shown]),
        keys=[study.keys[i] for i in shown],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page)


def _spread(count: int) -> Sequence[int]:
    """Records at equal distances, so that several views are among them."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(_SHOWN, count))})


def _strip(pictures: NDArray[np.uint8]) -> str:
    """Pictures side by side as a data URI."""
    content = io.BytesIO()
    Image.fromarray(np.concatenate(list(pictures), 1)).save(content, "PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
