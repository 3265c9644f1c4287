"""Build specs: defaults, digests, what contradicts itself."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dentgen.spec.build import BuildSpec


def test_digest_covers_what_decides_bytes() -> None:
    def digest(**sections: object) -> str:
        return BuildSpec.model_validate(sections).digest()

    same = digest()
    assert digest(output={"path": "elsewhere"}) == same
    assert digest(source={"path": "elsewhere"}) == same
    assert digest(pipeline={"actors": 9}) == same
    assert digest(quality={"max_rejected": 0.9}) == same
    for section, values in (
        ("sampling", {"seed": 1}),
        ("engine", {"slots": 8}),
        ("engine", {"threads": 2}),
        ("pipeline", {"samples_per_shard": 32}),
        ("conditions", {"alpha": 0.31}),
        ("output", {"image_format": "jpg"}),
        ("source", {"split": "train"}),
    ):
        assert digest(**{section: values}) != same, (section, values)


def test_control_slots_follow_variants() -> None:
    def slots(**sections: object) -> int:
        return BuildSpec.model_validate(sections).control_slots

    assert slots(engine={"slots": 16}, sampling={"variants": 4}) == 4
    assert slots(engine={"slots": 16}, sampling={"variants": 4, "guidance_scale": 2}) == 4
    assert slots(engine={"slots": 16}, sampling={"variants": 16}) == 1
    assert slots(engine={"slots": 16}, sampling={"variants": 6}) == 4, "parts of up to four records are in the slots"
    assert slots(engine={"slots": 16}, sampling={"variants": 100}) == 2
    assert slots(engine={"slots": 2}, sampling={"variants": 4, "guidance_scale": 2}) == 2
    assert slots(engine={"slots": 16, "control_slots": 7}) == 7


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"conditions": {"use": ["normal", "depth"]}}, ("conditions",)),
        ({"conditions": {"use": ["lighting", "lighting"]}}, ("conditions",)),
        ({"conditions": {"control_start": 0.9, "control_end": 0.1}}, ("conditions",)),
        ({"engine": {"control_slots": 1}, "sampling": {"guidance_scale": 2}}, ()),
        ({"output": {"path": ""}}, ("output", "path")),
        ({"source": {"ignore_members": ["json"]}}, ("source", "ignore_members")),
        ({"source": {"path": ""}}, ("source", "path")),
        ({"sampling": {"negative_prompt": "yellow"}}, ("sampling",)),
    ],
)
def test_contradictions_are_refused(sections: dict[str, Any], key: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        BuildSpec.model_validate(sections)
    assert [fault["loc"] for fault in caught.value.errors()] == [key]


def test_oversampling_takes_the_largest_factor() -> None:
    source = BuildSpec.model_validate(
        {"source": {"oversample": {"lighting": {"harsh": 3}, "caries": {"any": 2}}}}
    ).source
    assert source.repeats({"lighting": "harsh", "caries": "2"}) == 3
    assert source.repeats({"lighting": "ring", "caries": "1"}) == 2
    assert source.repeats({"lighting": "ring", "caries": "0"}) == source.repeats({}) == 1
