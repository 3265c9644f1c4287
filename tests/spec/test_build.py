"""Build specs: defaults, digests, what contradicts itself."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dentgen.errors import SpecError
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import validate_document


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


#: Digest of a build spec of which only the size is named, from before pictures could have other shapes than squares.
SQUARE = {
    128: "9e498f1352ac688f79a671d8d07f3d16401cc3f6451c93d58160686d32c06889",
    512: "d6c24f3f93093454a21810341ce983120dc6247c8ff6d67ab2f1c57df688a483",
    None: "98c45bda3053f28fdddc74e25a39bc9936196580bcb8a1f3c1b98486f4b9ef4b",
}


def sized(size: object) -> BuildSpec:
    return BuildSpec.model_validate({"conditions": {"size": size}})


@pytest.mark.parametrize("size", SQUARE)
def test_digests_of_squares_stay(size: int | None) -> None:
    assert sized(size).digest() == SQUARE[size]
    if size is not None:
        assert sized([size, size]) == sized((size, size)) == sized(size), "one name for one dataset"


def test_a_size_is_an_edge_or_height_and_width() -> None:
    wide, tall = sized([64, 96]), sized([96, 64])
    assert (wide.conditions.shape, tall.conditions.shape) == ((64, 96), (96, 64))
    assert (sized(64).conditions.shape, sized(64).conditions.edge) == ((64, 64), 64)
    assert len({wide.digest(), tall.digest(), sized(64).digest(), sized(96).digest()}) == 4
    for spec in (wide, sized(64), sized(None)):
        assert BuildSpec.model_validate_json(spec.model_dump_json()) == spec
        assert BuildSpec.model_validate(spec.model_dump()) == spec
    with pytest.raises(SpecError) as caught:
        _ = tall.conditions.edge
    assert (caught.value.key, caught.value.found) == ("conditions.size", [96, 64])
    assert caught.value.expected.startswith("a square")


@pytest.mark.parametrize(
    ("size", "key", "found"),
    [
        (63, "conditions.size", "63"), (0, "conditions.size", "0"), (4104, "conditions.size", "4104"),
        ("x", "conditions.size", "'x'"), ({}, "conditions.size", "{}"), ([], "conditions.size", "[]"),
        ([64], "conditions.size", "[64]"), ([64, 64, 3], "conditions.size", "[64, 64, 3]"),
        ([64, 65], "conditions.size.1", "65"), ([0, 64], "conditions.size.0", "0"),
        ([64, 4104], "conditions.size.1", "4104"), ([[64], 64], "conditions.size.0", "[64]"),
        (["x", 64], "conditions.size.0", "'x'"), ([64, None], "conditions.size.1", "None"),
    ],
)  # fmt: skip
def test_a_wrong_size_is_one_fault(size: object, key: str, found: str) -> None:
    with pytest.raises(SpecError) as caught:
        validate_document(BuildSpec, {"conditions": {"size": size}}, "s.yaml")
    assert not caught.value.faults or len(caught.value.faults) == 1
    (fault,) = caught.value.faults or [caught.value]
    assert (fault.key, fault.found) == (key, found)
    assert fault.expected


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


@pytest.mark.parametrize(
    ("scale", "loc"),
    [
        ({"teeth": 1.0}, "blended"), ({}, "blended"), ({"tooth": "x"}, "tooth"), ("x", "blended"),
        (float("inf"), "blended"), ({"tooth": float("nan")}, "tooth"),
    ],
)  # fmt: skip
def test_a_scale_is_a_number_or_numbers_by_class(scale: object, loc: str) -> None:
    assert BuildSpec.model_validate({"model": {"adapters": {"blended": {"tooth": 2}}}}).model.adapters == {
        "blended": {"tooth": 2.0}
    }
    with pytest.raises(ValidationError) as caught:
        BuildSpec.model_validate({"model": {"adapters": {"blended": scale}}})
    (fault,) = caught.value.errors()
    assert [part for part in fault["loc"] if "[" not in str(part)][-1] == loc


def test_oversampling_takes_the_largest_factor() -> None:
    source = BuildSpec.model_validate(
        {"source": {"oversample": {"lighting": {"harsh": 3}, "caries": {"any": 2}}}}
    ).source
    assert source.repeats({"lighting": "harsh", "caries": "2"}) == 3
    assert source.repeats({"lighting": "ring", "caries": "1"}) == 2
    assert source.repeats({"lighting": "ring", "caries": "0"}) == source.repeats({}) == 1


def test_places_are_resolved_where_the_spec_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that they are the same in workers, whose home folder is another one."""
    monkeypatch.setenv("HOME", "/home/x")
    values = {"source": {"path": "~/src"}, "output": {"path": "file:///a%20b"}, "model": {"bundle": "~/bundle"}}
    spec = BuildSpec.model_validate(values)
    assert (spec.source.path, spec.output.path, spec.model.bundle) == ("/home/x/src", "/a b", "/home/x/bundle")
    monkeypatch.setenv("HOME", "/elsewhere")
    assert BuildSpec.model_validate(spec.model_dump()) == spec
    assert BuildSpec.model_validate({"output": {"path": "thesis::v2"}}).output.path == "thesis::v2"
    same = BuildSpec.model_validate({"model": {"bundle": "file:///home/x/bundle"}})
    assert same.digest() == BuildSpec.model_validate({"model": {"bundle": "/home/x/bundle"}}).digest()


@pytest.mark.parametrize("section", ["source", "output", "model"])
@pytest.mark.parametrize(
    "place", ["https://hunter2@host/x", "s3://KEY:a/hunter2@bucket/x", "ftp://user:hunter2@host/x", "file://host/x"]
)
def test_passwords_and_foreign_hosts_are_refused_and_never_shown(section: str, place: str) -> None:
    with pytest.raises(SpecError) as caught:
        validate_document(BuildSpec, {section: {"bundle" if section == "model" else "path": place}}, "s.yaml")
    assert caught.value.key.startswith(f"{section}.")
    assert "hunter2" not in str(caught.value)


def test_upscale_starts_from_photos_unless_the_spec_names_strength() -> None:
    sampling = BuildSpec.model_validate({"sampling": {"upscale": 2}}).sampling
    assert (sampling.start_from, sampling.strength, sampling.window) == ("photo", 0.3, None)
    named = BuildSpec.model_validate({"sampling": {"upscale": 4, "strength": 0.7}}).sampling
    assert (named.upscale, named.strength) == (4, 0.7)
    for wrong in ({"upscale": 3}, {"upscale": 2, "start_from": "noise"}):
        with pytest.raises(ValidationError):
            BuildSpec.model_validate({"sampling": wrong})


def test_without_upscaling_and_tiled_encoding_digests_are_what_they_were() -> None:
    deciding = BuildSpec().deciding()
    assert "upscale" not in deciding["sampling"]
    assert "encode_tile" not in deciding["model"]
    assert BuildSpec.model_validate({"model": {"encode_tile": 64}}).digest() != BuildSpec().digest()


@pytest.mark.parametrize(
    ("actors", "limits"),
    [(3, (3, 3)), ({"min": 2, "max": 64}, (2, 64)), ({"max": 8}, (1, 8)), ({"min": 4, "max": 4}, (4, 4))],
)
def test_actors_are_a_number_or_a_range(actors: object, limits: tuple[int, int]) -> None:
    pipeline = BuildSpec.model_validate({"pipeline": {"actors": actors}}).pipeline
    assert (pipeline.fewest_actors, pipeline.most_actors) == limits
    assert BuildSpec.model_validate_json(BuildSpec(pipeline=pipeline).model_dump_json()).pipeline == pipeline


@pytest.mark.parametrize(
    ("pipeline", "key"),
    [
        ({"actors": 0}, "pipeline.actors"),
        ({"actors": {"min": 4, "max": 2}}, "pipeline.actors"),
        ({"actors": {"min": 0, "max": 2}}, "pipeline.actors.min"),
        ({"actors": {"min": 1}}, "pipeline.actors.max"),
        ({"actors": {"min": 1, "max": 2, "most": 3}}, "pipeline.actors.most"),
        ({"gpus_per_actor": -1}, "pipeline.gpus_per_actor"),
        ({"gpus_per_actor": 1.5}, "pipeline.gpus_per_actor"),
        ({"gpus_per_actor": 0.00001}, "pipeline.gpus_per_actor"),
        ({"gpus_per_actor": float("nan")}, "pipeline.gpus_per_actor"),
    ],
)
def test_what_ray_cannot_reserve_is_named(pipeline: dict[str, object], key: str) -> None:
    with pytest.raises(SpecError) as caught:
        validate_document(BuildSpec, {"pipeline": pipeline}, "spec.yaml")
    assert caught.value.key == key


@pytest.mark.parametrize("gpus", [None, 0, 0.25, 1, 2])
def test_parts_of_a_gpu_and_whole_ones_can_be_reserved(gpus: float | None) -> None:
    assert BuildSpec.model_validate({"pipeline": {"gpus_per_actor": gpus}}).pipeline.gpus_per_actor == gpus
