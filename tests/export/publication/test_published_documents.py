"""Card and Croissant as they are published: what the certificate says is quoted, and what it does not say is told."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

from dentgen.export.publication.published_documents import published_card, published_croissant, statements
from dentgen.shards.certificate import CertificateSection
from tests.export.publication.conftest import certificate

URL = "https://hub/datasets/clinic/teeth"
DAY = date(2026, 5, 4)
SAID = [
    "agreement: pictures that judges looked at 8, mean IoU with the labels 0.9312 (`dentgen certify OUT`)",
    "memorisation: not measured (no pictures were named)",
]


def test_croissant_on_publication() -> None:
    content = published_croissant(b'{"name": "x"}', URL, "clinic", DAY, None)
    assert json.loads(content) == {
        "name": "x", "url": URL, "datePublished": "2026-05-04",
        "creator": {"@type": "sc:Organization", "name": "clinic", "url": "https://hub/datasets/clinic"},
    }  # fmt: skip


def test_croissant_quotes_the_certificate(build: Path) -> None:
    content = published_croissant((build / "croissant.json").read_bytes(), URL, "clinic", DAY, certificate(build))
    assert json.loads(content)["rai:dataAnnotationAnalysis"] == SAID
    assert list(statements(certificate(build))) == SAID


def test_numbers_are_told_whole_and_sections_with_nothing_to_quote_are_not(build: Path) -> None:
    counts = CertificateSection(
        figures={"planned": 1_234_567.0, "rejected": 1_000_001.0}, command="dentgen certify OUT"
    )
    other = CertificateSection(figures={"reviewers": 1.0}, command="dentgen certify OUT")
    own = certificate(build).model_copy(update={"sections": {"rejections": counts, "review": other}})
    expected = "rejections: samples planned 1234567, of these rejected 1000001 (`dentgen certify OUT`)"
    assert list(statements(own)) == [expected]


def test_the_card_quotes_the_certificate_after_what_was_sealed(build: Path) -> None:
    sealed = (build / "README.md").read_bytes()
    card = published_card(sealed, certificate(build))
    assert card.startswith(sealed.rstrip())
    added = card[len(sealed.rstrip()) :].decode()
    assert [line for line in added.splitlines() if line.startswith("- ")] == [f"- {line}" for line in SAID]


def test_a_card_says_that_nothing_was_certified(build: Path) -> None:
    added = published_card((build / "README.md").read_bytes(), None).decode().rpartition("## Certificate")[2]
    assert "dentgen certify" in added
    assert "- " not in added
