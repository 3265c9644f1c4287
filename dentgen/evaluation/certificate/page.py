"""The certificate as a page: figures that describe one quantity stand in one row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dentgen.report.html.page import page_environment
from dentgen.shards.certificate import Certificate, CertificateSection, SectionName

_PAGE: Final = "certificate.html.j2"
_FOLDER: Final = Path(__file__).parent
QUESTIONS: Final[Mapping[SectionName, str]] = {
    "agreement": "Do pictures show what their labels say?",
    "gate": "What did the quality gate accept?",
    "rejections": "What was rejected?",
    "duplicates": "Are pictures there twice?",
    "usefulness": "Does it help to train on it?",
    "memorisation": "Does it repeat pictures that its model learnt on?",
    "review": "What did people say who looked at it?",
}
#: Ends of names, and the columns that they stand in; the plain value comes first.
_COLUMNS: Final = {
    "mean": "mean", "q01": "1 %", "q05": "5 %", "q50": "median", "least": "least", "most": "most", "spread": "spread",
    "kept": "kept", "miou": "mIoU",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FigureTable:
    """Figures as rows.

    Attributes:
        columns: Heads of the columns after the name; "value" for plain figures.
        rows: Name, and a text for each column, "" for none.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def figure_tables(section: CertificateSection) -> list[FigureTable]:
    """The figures of a section, those with the same columns in one table, in their order."""
    rows: dict[str, dict[str, str]] = {}
    for name, value in section.figures.items():
        stem, _, end = name.rpartition("_")
        row, column = (stem, _COLUMNS[end]) if stem and end in _COLUMNS else (name, "value")
        rows.setdefault(row, {})[column] = _text(value)
    order = ["value", *_COLUMNS.values()]
    tables: dict[tuple[str, ...], list[tuple[str, tuple[str, ...]]]] = {}
    for kinds, group in _grouped(rows):
        columns = tuple(column for column in order if column in kinds)
        tables[columns] = [(name, tuple(own.get(column, "") for column in columns)) for name, own in group.items()]
    return [FigureTable(columns, tuple(found)) for columns, found in tables.items()]


def certificate_page(certificate: Certificate) -> str:
    """The page, one self-contained file without a script."""
    tables = {name: figure_tables(section) for name, section in certificate.sections.items()}
    page = page_environment(_FOLDER).get_template(_PAGE)
    return page.render(certificate=certificate, questions=QUESTIONS, tables=tables)


def _text(value: float | None) -> str:
    if value is None:
        return "nothing to compare"
    return f"{value:.0f}" if value.is_integer() else f"{value:.6g}"


def _grouped(rows: Mapping[str, dict[str, str]]) -> list[tuple[set[str], dict[str, dict[str, str]]]]:
    """Rows by the kind of their columns: limits together, quantiles together, plain values together."""
    kinds: list[tuple[set[str], dict[str, dict[str, str]]]] = []
    for name, own in rows.items():
        for columns, group in kinds:
            if columns & set(own) and ("value" in columns) == ("value" in own):
                columns |= set(own)
                group[name] = own
                break
        else:
            kinds.append((set(own), {name: own}))
    return kinds
