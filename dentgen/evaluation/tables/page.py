"""A measured decision table as one self-contained HTML page: figures, pictures of the same records, cost, settings."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, select_autoescape

from dentgen.evaluation.picture_strips import shown_records, strip
from dentgen.evaluation.tables.document import cell, seeds_of, settings_of
from dentgen.evaluation.tables.study import VARIANTS, TableStudy

_PACKAGE: Final = "dentgen.evaluation.tables"
_TEMPLATE: Final = "decision_table.html.j2"


def write_table_page(study: TableStudy, command: str, file: Path) -> None:
    """Write the page; it loads nothing from elsewhere.

    Args:
        study: The table.
        command: Command that measures it again.
        file: The page; its folder is created.
    """
    environment = Environment(loader=PackageLoader(_PACKAGE), autoescape=select_autoescape(["j2"]))
    shown = shown_records(len(study.keys))
    page = environment.get_template(_TEMPLATE).render(
        study=study,
        table=study.table,
        figures=list(study.reference),
        variants=VARIANTS,
        command=command,
        cell=cell,
        seeds_of=seeds_of,
        settings_of=settings_of,
        strips={row.candidate.name: strip(row.pictures[shown]) for row in study.rows},
        photos=strip(study.photos[shown]),
        keys=[study.keys[i] for i in shown],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page)
