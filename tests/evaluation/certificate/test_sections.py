"""Sections of a certificate: figures of what is in the dataset, and what is missing for others."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dentgen import storage
from dentgen.curation.check_sheet import draw_sheet
from dentgen.curation.check_verdicts import store_verdicts
from dentgen.evaluation.certificate.write import CertificateSettings, certify
from dentgen.models.judges import judges_digest
from dentgen.shards.index_reader import read_index
from tests.curation.checked_build import filled_in
from tests.evaluation.certificate.finished import Members, finished_build

SETTINGS = CertificateSettings(pictures=16)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, demo_members: Members) -> Path:
    return finished_build(tmp_path_factory.mktemp("build"), demo_members)


@pytest.mark.integration
def test_figures_are_those_of_the_dataset(out: Path) -> None:
    certificate = certify(str(out), SETTINGS)
    index, table = read_index(str(out)), pq.read_table(out / "samples.parquet")
    assert certificate.index_sha256 == storage.sha256_of(str(out / "index.json"))
    assert (certificate.samples, certificate.samples_sha256) == (index.written, index.samples_sha256)
    agreement = certificate.sections["agreement"]
    assert agreement.figures["pictures"] == index.written
    assert agreement.figures["miou_mean"] == pytest.approx(table["gate_miou"].to_numpy().mean(), abs=1e-4)
    assert agreement.computed_from == {"index": certificate.index_sha256, "judges": judges_digest("embedded")}
    gate = certificate.sections["gate"].figures
    assert (gate["planned"], gate["failed"], gate["limit_luminance_least"]) == (index.planned, 0, 0.0)
    assert gate["curve_00_kept"] == 1
    kept = [gate[f"curve_{share}_kept"] for share in ("00", "01", "02", "05", "10", "20")]
    assert kept == sorted(kept, key=lambda value: -(value or 0))
    assert certificate.sections["rejections"].figures == {"planned": index.planned, "rejected": 0}


def test_what_was_not_measured_says_what_it_needs(out: Path) -> None:
    sections = certify(str(out), SETTINGS).sections
    assert (sections["usefulness"].figures, sections["memorisation"].figures) == ({}, {})
    assert "--reference" in sections["usefulness"].missing
    assert "--held-out" in sections["memorisation"].missing


@pytest.mark.slow
def test_what_people_said_is_quoted_and_changes_with_it(out: Path) -> None:
    before = certify(str(out), SETTINGS).sections["review"]
    assert (before.figures, "dentgen review" in before.missing) == ({}, True)
    for count, answers in ((6, {"passed": True}), (2, {"passed": False})):  # the draw with more verdicts counts
        store_verdicts(str(out), filled_in(draw_sheet(str(out), count), f"{count:016x}", **answers))
    review = certify(str(out), SETTINGS).sections["review"]
    assert (review.figures["verdicts"], review.figures["usable"], review.figures["agree"]) == (6, 1, 1)
    store_verdicts(str(out), filled_in(draw_sheet(str(out), 6), passed=False))
    after = certify(str(out), SETTINGS).sections["review"]
    assert (after.figures["reviewers"], after.figures["usable"]) == (2, 0.5)
    assert after.computed_from["verdicts"] != review.computed_from["verdicts"]


def test_copies_within_the_dataset_and_of_the_training_pictures_are_counted(out: Path) -> None:
    settings = CertificateSettings(pictures=16, training=str(out), held_out=str(out.parent / "conditions"))
    sections = certify(str(out), settings).sections
    assert sections["duplicates"].figures == {"pairs": 0, "samples": 0, "most_bits": 7}
    memorised = sections["memorisation"]
    assert memorised.figures["copies"] == memorised.figures["generated"] == 6, "each of them is there itself"
    assert set(memorised.computed_from) == {"index", "judges", "training", "held_out"}
