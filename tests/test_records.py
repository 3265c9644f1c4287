"""Records: names of conditions and members, and the shape that all maps of a record share."""

from __future__ import annotations

import numpy as np

from dentgen.records import ATTRIBUTES, CONDITION_MEMBER, CONDITION_NAMES, FDI_MEMBER, PHOTO_MEMBER, ConditionRecord
from dentgen.spec.build import BuildSpec


def test_every_condition_has_a_member_of_its_own() -> None:
    assert CONDITION_MEMBER.keys() == set(CONDITION_NAMES)
    members = [*CONDITION_MEMBER.values(), FDI_MEMBER, PHOTO_MEMBER]
    assert len(set(members)) == len(members)
    assert not any("." in member for member in members), "a dot would end the member's key"


def test_condition_names_are_those_of_a_spec() -> None:
    for name in CONDITION_NAMES:
        spec = BuildSpec.model_validate({"conditions": {"use": [name]}})
        assert spec.conditions.use == (name,)


def test_attributes_are_an_allowlist_without_identities() -> None:
    assert len(set(ATTRIBUTES)) == len(ATTRIBUTES)
    assert not {"name", "patient", "birthday", "id"} & set(ATTRIBUTES)


def test_the_shape_of_a_record_is_height_and_width() -> None:
    normal, lighting = np.zeros((3, 5, 3), np.uint8), np.zeros((3, 5), np.uint8)
    record = ConditionRecord("k", "k", "", "", {"normal": normal, "lighting": lighting}, None, None, "", {})
    assert record.shape == (3, 5)
