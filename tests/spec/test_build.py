"""Specs: unknown keys, wrong values, overrides, digests."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.errors import SpecError
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import read_spec, spec_difference


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert read_spec(write(tmp_path / "s.yaml", "")) == BuildSpec()


def test_every_wrong_key_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "s.yaml", "sampling: {stpes: 4}\nconditions: {alpha: 3}\n")
    with pytest.raises(SpecError) as caught:
        read_spec(path)
    assert "s.yaml" in str(caught.value)
    assert "sampling.stpes: found an unknown key, expected one of guidance, " in str(caught.value)
    assert "conditions.alpha" in str(caught.value)


def test_an_override_is_blamed_for_what_it_says(tmp_path: Path) -> None:
    path = write(tmp_path / "s.yaml", "sampling: {steps: none}\n")
    with pytest.raises(SpecError) as caught:
        read_spec(path, ["sampling.stpes=4", "modle.bundle=x", "model.adapters.blended=much"])
    lines = sorted(line.strip() for line in str(caught.value).splitlines()[1:])
    assert [line.partition(": found")[0] for line in lines[1:3]] == [
        "--set modle", "--set sampling.stpes",
    ]  # fmt: skip
    assert lines[0].startswith("--set model.adapters.blended: ")
    assert lines[3].startswith("sampling.steps: "), "the file's own"


def test_overrides_are_yaml_values(tmp_path: Path) -> None:
    spec = read_spec(write(tmp_path / "s.yaml", ""), ["sampling.steps=8", "model.adapters={}", "source.split=test"])
    assert (spec.sampling.steps, spec.model.adapters, spec.source.split) == (8, {}, "test")
    with pytest.raises(SpecError, match=r"a\.b"):
        read_spec(tmp_path / "s.yaml", ["a.b"])
    with pytest.raises(SpecError, match="found the value 4 at steps, expected a section"):
        read_spec(write(tmp_path / "s.yaml", "sampling: {steps: 4}"), ["sampling.steps.x=3"])


def test_no_python_objects_from_yaml(tmp_path: Path) -> None:
    with pytest.raises(SpecError):
        read_spec(write(tmp_path / "s.yaml", "source: !!python/object/apply:os.system ['true']"))


HOSTILE = {
    "not UTF-8": (b"source: {path: '\xff'}", "utf-8"),
    "too deep": (b"[" * 5000, "no readable YAML"),
    "without end": (b"source: &a {path: *a}", "no readable YAML"),
    "aliases of aliases": (
        b"a: &a [x, x, x, x, x, x, x, x, x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (n + 1, n + 1, b", ".join([b"*%c" % n] * 9)) for n in range(97, 106)),
        "more than 10000 values",
    ),
    "a number of 5000 digits": (b"sampling: {steps: " + b"9" * 5000 + b"}", "no readable YAML"),
    "a date that is none": (b"source: {path: 2001-99-99}", "no readable YAML"),
    "broken Unicode": (b'source: {path: "\\ud800"}', "surrogates"),
    "no number": (b"sampling: {guidance_scale: .inf}", "sampling.guidance_scale"),
    "a key twice": (b"sampling: {variants: 2}\nsampling: {steps: 8}", "found the key 'sampling' twice"),
    "a key twice within": (b"sampling: {steps: 2, steps: 8}", "found the key 'steps' twice"),
    "a signed bundle": (b"model: {bundle: 'https://host/b?sig=hunter2'}", "model.bundle"),
    "an unread prompt": (b"sampling: {negative_prompt: yellow}", "negative_prompt is read with guidance_scale"),
    "no number in a table": (b"model: {adapters: {blended: .nan}}", "model.adapters.blended"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_yaml_is_a_spec_error(case: str, tmp_path: Path) -> None:
    content, words = HOSTILE[case]
    (tmp_path / "s.yaml").write_bytes(content)
    with pytest.raises(SpecError, match=r"s\.yaml") as caught:
        read_spec(tmp_path / "s.yaml")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 2000
    assert "hunter2" not in str(caught.value)


def test_an_override_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"--set sampling\.steps=\["):
        read_spec(write(tmp_path / "s.yaml", ""), ["sampling.steps=["])


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


def test_difference_names_keys() -> None:
    assert spec_difference({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}) == ["a.c: 2 -> 3"]
    assert spec_difference({"a": {}}, {"a": {"x": 1}}) == ["a: {} -> '(absent)'", "a.x: '(absent)' -> 1"]


def test_what_cannot_be_blended_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot blend"):
        BuildSpec.model_validate({"conditions": {"use": ["normal", "depth"]}})
