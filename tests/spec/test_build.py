"""Build specs: digests, and slots that follow from several sections."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dentgen.spec.build import BuildSpec


def test_digest_covers_what_decides_bytes() -> None:
    def digest(**sections: object) -> str:
        return BuildSpec.model_validate(sections).digest()

    same = digest()
    assert digest(output={"path": "elsewhere"}) == same
    assert digest(source={"path": "elsewhere"}) == same
    assert digest(pipeline={"actors": 9, "packers": 3}) == same
    assert digest(pipeline={"actors": {"min": 2, "max": 64}, "gpus_per_actor": 0.5}) == same
    assert digest(engine={"fill": "unit"}) == same
    assert digest(quality={"max_rejected": 0.9}) == same
    for section, values in (
        ("sampling", {"seed": 1}),
        ("engine", {"slots": 8}),
        ("engine", {"threads": 2}),
        ("pipeline", {"samples_per_shard": 32}),
        ("conditions", {"alpha": 0.31}),
        ("output", {"image_format": "jpg"}),
        ("output", {"png_level": 1}),
        ("engine", {"codec_batch": 4}),
        ("source", {"split": "train"}),
    ):
        assert digest(**{section: values}) != same, (section, values)


def test_without_upscaling_and_tiled_encoding_digests_are_what_they_were() -> None:
    deciding = BuildSpec().deciding()
    assert "upscale" not in deciding["sampling"]
    assert "encode_tile" not in deciding["model"]
    assert BuildSpec.model_validate({"model": {"encode_tile": 64}}).digest() != BuildSpec().digest()


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


def test_too_few_control_slots_for_guidance_are_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        BuildSpec.model_validate({"engine": {"control_slots": 1}, "sampling": {"guidance_scale": 2}})
    assert [fault["loc"] for fault in caught.value.errors()] == [()]


def test_words_that_no_prompt_says_are_known_as_long_as_records_bring_none() -> None:
    def unsaid(**sections: object) -> tuple[str, ...]:
        return BuildSpec.model_validate({"model": {"embeddings": ["look", "worn"]}, **sections}).unsaid_words

    assert unsaid() == ()
    assert unsaid(sampling={"prompt": "teeth"}) == ("look", "worn")
    assert unsaid(sampling={"prompt": "teeth, <look>"}) == ("worn",)
    assert unsaid(sampling={"prompt": "teeth, <Look> worn", "prompt_to": "<worn>"}) == ("look",)
    assert unsaid(sampling={"prompt": "teeth", "guidance_scale": 2, "negative_prompt": "<worn>"}) == ("look",)
    asked = [{"kind": "other", "teeth": [36], "prompt": "{prompt}, <worn>"}]
    assert unsaid(sampling={"prompt": "<look>"}, findings=asked) == ()
    assert unsaid(sampling={"prompt": "teeth"}, regions={"painted": 1}) == ()
