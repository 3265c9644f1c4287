"""Statements about a build follow from its spec."""

from __future__ import annotations

from dentgen.report.card.statements import BIASES, limits, privacy, provenance
from tests.report.fake_builds import fake_plan, with_spec


def test_only_pictures_without_photographs_show_no_person() -> None:
    synthetic = fake_plan()
    composite = with_spec(synthetic, sampling={"start_from": "photo"})
    assert "shows no person" in provenance(synthetic)
    assert "shows no person" not in provenance(composite)
    for plan in (synthetic, composite):
        assert privacy(plan).startswith(provenance(plan))


def test_biases_are_among_the_limits() -> None:
    assert BIASES in limits(fake_plan())
