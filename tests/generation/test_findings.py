"""Drawn findings: frequencies, recorded places, and maps that change with them and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.conditions.labels import APPLIANCE, RESTORATION, TOOTH
from dentgen.conditions.lesion_map import CAVITY, GOLD_CROWN, INFLAMED_GUM, PLAQUE
from dentgen.errors import ConditionError
from dentgen.generation.findings import Findings, check_findings, draw_findings
from dentgen.records import ConditionRecord
from dentgen.spec.findings import FindingSpec
from tests.generation.finding_records import finding, record


def drawn(jaw: ConditionRecord, *findings: FindingSpec, seed: int = 0, variant: int = 0) -> Findings:
    return draw_findings(jaw, findings, seed, variant, "a photo")


def test_each_tooth_draws_with_its_probability() -> None:
    asked = finding(teeth=[11, 21, 36], probability=0.3)
    teeth = [
        tooth
        for variant in range(600)
        for one in drawn(record(), asked, variant=variant).asked
        for tooth in one.teeth
    ]  # fmt: skip
    for tooth in (11, 21):
        assert teeth.count(tooth) / 600 == pytest.approx(0.3, abs=0.06), tooth
    assert 36 not in teeth, "a tooth of one pixel is not asked"


def test_draws_depend_on_seed_key_and_variant_alone() -> None:
    asked = finding(teeth=[11, 21], probability=0.5)
    first = [drawn(record(), asked, variant=v).labels for v in range(12)]
    assert all((a == drawn(record(), asked, variant=v).labels).all() for v, a in enumerate(first))
    for other in (
        [drawn(record(), asked, seed=1, variant=v).labels for v in range(12)],
        [drawn(record("other"), asked, variant=v).labels for v in range(12)],
    ):
        assert any((a != b).any() for a, b in zip(first, other, strict=True))
    behind = finding(teeth=[11], probability=0.5, part="whole", prompt=None)
    assert all(
        ((drawn(record(), asked, behind, variant=v).labels == 1) <= (a == 1)).all() for v, a in enumerate(first)
    ), "another finding changes no draw of the first"


def test_what_was_asked_is_recorded() -> None:
    crown = finding(teeth=[21, 11], part="whole", prompt="{prompt}, gold crown")
    gum = finding(kind="inflammation", where="gingiva", near=[11], prompt="red gums")
    found = drawn(record(), crown, gum)
    first, second = found.asked
    assert (first.label, first.kind, first.teeth, first.where) == (1, "restoration", (21, 11), "tooth")
    assert (first.prompt, first.pixels, first.found) == ("a photo, gold crown", 640, None)
    assert (second.label, second.kind, second.teeth, second.where) == (2, "inflammation", (11,), "gingiva")
    assert second.pixels == int((found.labels == 2).sum())
    assert set(np.unique(found.labels)) == {0, 1, 2}


def test_restorations_and_decay_are_in_the_maps_where_they_are_asked_and_nowhere_else() -> None:
    jaw = record(lesion=True)
    crown = finding(teeth=[11], part="whole", material="gold crown")
    decay = finding(kind="caries", teeth=[21], share=0.2, decay="cavity")
    found = drawn(jaw, crown, decay)
    seg, lesion = found.record.conditions["segmentation"], found.record.conditions["findings"]
    assert (seg[found.labels == 1] == RESTORATION).all()
    assert (seg[found.labels == 2] == TOOTH).all()
    assert (lesion[found.labels == 1] == GOLD_CROWN).all()
    assert (lesion[found.labels == 2] == CAVITY).all()
    elsewhere = found.labels == 0
    for name in ("segmentation", "findings", "lighting"):
        assert (found.record.conditions[name][elsewhere] == jaw.conditions[name][elsewhere]).all(), name
    assert jaw.conditions["findings"].max() == 0, "the source's record stays as it was"
    assert jaw.conditions["segmentation"].max() == TOOTH


def test_plaque_and_inflamed_gum_are_in_the_findings_map_alone() -> None:
    jaw = record(lesion=True)
    plaque = finding(kind="plaque", teeth=[11])
    gum = finding(kind="inflammation", where="gingiva")
    found = drawn(jaw, plaque, gum)
    lesion = found.record.conditions["findings"]
    assert (lesion[found.labels == 1] == PLAQUE).all()
    assert (lesion[found.labels == 2] == INFLAMED_GUM).all()
    assert set(np.unique(lesion)) == {0, PLAQUE, INFLAMED_GUM}
    assert (found.record.conditions["segmentation"] == jaw.conditions["segmentation"]).all()


def test_unedited_findings_and_those_without_a_value_change_no_map() -> None:
    jaw = record(lesion=True)
    asked = [finding(teeth=[11], edit=False), finding(kind="other", teeth=[21], prompt="a bruise")]
    asked.append(finding(kind="inflammation", where="other soft tissue", prompt="red"))
    found = drawn(jaw, *asked)
    for name, array in jaw.conditions.items():
        assert (found.record.conditions[name] == array).all(), name
    assert len(found.asked) == 2


def test_the_last_finding_at_a_place_is_the_one_there() -> None:
    whole = finding(teeth=[11], part="whole")
    found = drawn(record(), finding(teeth=[11], share=0.3), whole)
    assert [one.label for one in found.asked] == [2]
    found = drawn(record(), whole, finding(teeth=[11], share=0.3))
    assert [one.pixels for one in found.asked] == [320 - found.asked[1].pixels, found.asked[1].pixels]


def test_teeth_under_a_later_finding_are_not_told_of() -> None:
    found = drawn(record(), finding(teeth=[11, 21], part="whole"), finding(teeth=[11], part="whole"))
    assert [(one.label, one.teeth) for one in found.asked] == [(1, (21,)), (2, (11,))]


def test_what_covers_a_tooth_is_no_part_of_its_finding() -> None:
    """Brackets stay brackets, and decay is not painted on crowns."""
    jaw = record(lesion=True)
    assert jaw.fdi is not None
    jaw.conditions["segmentation"][30:34, 12:28] = APPLIANCE
    jaw.conditions["segmentation"][jaw.fdi == 21] = RESTORATION
    crown = drawn(jaw, finding(teeth=[11], part="whole"))
    assert not (crown.labels[30:34] > 0).any()
    assert (crown.record.conditions["segmentation"][30:34, 12:28] == APPLIANCE).all()
    assert not drawn(jaw, finding(kind="caries", teeth=[21])).asked
    assert drawn(jaw, finding(kind="plaque", teeth=[21], part="spot")).asked


def test_attributes_choose_records() -> None:
    asked = finding(teeth=[11], attributes={"look": "photo"})
    assert drawn(record(look="photo"), asked).asked
    assert not drawn(record(look="scan"), asked).asked
    assert not drawn(record(), asked).asked


def test_records_without_the_maps_are_refused() -> None:
    jaw = record()
    bare = ConditionRecord("k", "g", "", "", {"lighting": jaw.conditions["lighting"]}, jaw.fdi, None, "", {})
    unnumbered = ConditionRecord("k", "g", "", "", jaw.conditions, None, None, "", {})
    for wrong, member, asked in (
        (bare, "seg", finding(kind="inflammation", where="gingiva")),
        (unnumbered, "fdi", finding(teeth=[11])),
        (unnumbered, "fdi", finding(kind="inflammation", where="gingiva", near=[11])),
    ):
        assert not drawn(wrong, asked).asked
        with pytest.raises(ConditionError) as caught:
            check_findings(wrong, [asked])
        assert caught.value.file == member
    check_findings(unnumbered, [finding(kind="inflammation", where="gingiva")])
    check_findings(bare, [])
