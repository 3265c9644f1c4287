"""The certificate's page: every figure once, those of one quantity in one row."""

from __future__ import annotations

from typing import get_args

from dentgen.evaluation.certificate.page import QUESTIONS, FigureTable, figure_tables
from dentgen.shards.certificate import CertificateSection, SectionName


def test_figures_of_one_quantity_stand_in_one_row() -> None:
    figures: dict[str, float | None] = {
        "pictures": 80.0, "miou_mean": 0.9, "miou_q01": 0.7, "shift_mean": None, "limit_miou_least": 0.5,
        "limit_luminance_least": 0.1, "limit_luminance_most": 0.9,
    }  # fmt: skip
    assert figure_tables(CertificateSection(figures=figures)) == [
        FigureTable(("value",), (("pictures", ("80",)),)),
        FigureTable(("mean", "1 %"), (("miou", ("0.9", "0.7")), ("shift", ("nothing to compare", "")))),
        FigureTable(("least", "most"), (("limit_miou", ("0.5", "")), ("limit_luminance", ("0.1", "0.9")))),
    ]


def test_a_plain_value_and_its_spread_stand_beside_each_other() -> None:
    tables = figure_tables(CertificateSection(figures={"miou_dataset": 0.8, "miou_dataset_spread": 0.01, "seeds": 3.0}))
    assert tables == [FigureTable(("value", "spread"), (("miou_dataset", ("0.8", "0.01")), ("seeds", ("3", ""))))]


def test_large_counts_are_whole() -> None:
    tables = figure_tables(CertificateSection(figures={"planned": 1234567.0, "share": 0.1234}))
    assert tables[0].rows == (("planned", ("1234567",)), ("share", ("0.1234",)))


def test_every_section_asks_a_question() -> None:
    assert set(QUESTIONS) == set(get_args(SectionName))
