"""Table T1 as aligned text and as one self-contained HTML file."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape

from dentgen.evaluation.picture_strips import shown_records, strip
from dentgen.evaluation.solvers import KL, Row, SolverStudy


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
    shown = shown_records(len(study.keys))
    page = environment.get_template("solver_study.html.j2").render(
        title=title,
        study=study,
        speeds=speed_lines(study),
        strips={names: strip(images[shown]) for names, images in study.pictures.items()},
        photos=strip(study.photos[shown]),
        keys=[study.keys[i] for i in shown],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page)
