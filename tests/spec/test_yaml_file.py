"""Specs as files: YAML 1.2, unknown keys, overrides, hostile input, differences."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.errors import SpecError
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import preview_spec, read_spec, spec_difference


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert read_spec(write(tmp_path / "s.yaml", "")) == BuildSpec()


def test_every_wrong_key_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "s.yaml", "sampling: {stpes: 4}\nconditions: {alpha: 3}\n")
    with pytest.raises(SpecError) as caught:
        read_spec(path)
    assert caught.value.file == str(path)
    faults = {fault.key: fault for fault in caught.value.faults}
    assert faults.keys() == {"sampling.stpes", "conditions.alpha"}
    assert "steps" in faults["sampling.stpes"].expected
    assert faults["conditions.alpha"].found == "3"
    assert all(key in str(caught.value) for key in faults)


def test_overrides_are_blamed_for_their_own_values(tmp_path: Path) -> None:
    path = write(tmp_path / "s.yaml", "sampling: {steps: none}\n")
    with pytest.raises(SpecError) as caught:
        read_spec(path, ["sampling.stpes=4", "modle.bundle=x", "model.adapters.blended=much"])
    assert {fault.key for fault in caught.value.faults} == {
        "--set model.adapters.blended", "--set modle", "--set sampling.stpes", "sampling.steps",
    }  # fmt: skip


def test_overrides_are_yaml_values(tmp_path: Path) -> None:
    spec = read_spec(write(tmp_path / "s.yaml", ""), ["sampling.steps=8", "model.adapters={}", "source.split=test"])
    assert (spec.sampling.steps, spec.model.adapters, spec.source.split) == (8, {}, "test")
    for override in ("a.b", "sampling.steps.x=3"):
        with pytest.raises(SpecError) as caught:
            read_spec(write(tmp_path / "s.yaml", "sampling: {steps: 4}"), [override])
        assert caught.value.key == f"--set {override}"


def test_yaml_is_1_2(tmp_path: Path) -> None:
    """1e-4 is a number, no is text, an octal-looking number is decimal."""
    path = write(tmp_path / "s.yaml", "sampling: {prompt: no, seed: 010, guidance_scale: 1e-4}")
    sampling = read_spec(path).sampling
    assert (sampling.prompt, sampling.seed, sampling.guidance_scale) == ("no", 10, 1e-4)


def test_no_python_objects_from_yaml(tmp_path: Path) -> None:
    with pytest.raises(SpecError):
        read_spec(write(tmp_path / "s.yaml", "source: !!python/object/apply:os.system ['true']"))


#: Content, and the key that the error names, "" where the file is no spec at all.
HOSTILE = {
    "not UTF-8": (b"source: {path: '\xff'}", ""),
    "too deep": (b"[" * 5000, ""),
    "too large": (b"# " + b"x" * 70_000, ""),
    "without end": (b"source: &a {path: *a}", ""),
    "aliases of aliases": (
        b"a: &a [x, x, x, x, x, x, x, x, x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (n + 1, n + 1, b", ".join([b"*%c" % n] * 9)) for n in range(97, 106)),
        "",
    ),
    "a number of 5000 digits": (b"sampling: {steps: " + b"9" * 5000 + b"}", ""),
    "a date that is none": (b"source: {path: 2001-99-99}", ""),
    "broken Unicode": (b'source: {path: "\\ud800"}', ""),
    "a list": (b"[1, 2]", ""),
    "no number": (b"sampling: {guidance_scale: .inf}", "sampling.guidance_scale"),
    "a key twice": (b"sampling: {variants: 2}\nsampling: {steps: 8}", ""),
    "a key twice within": (b"sampling: {steps: 2, steps: 8}", ""),
    "a signed bundle": (b"model: {bundle: 'https://host/b?sig=hunter2'}", "model.bundle"),
    "an unread prompt": (b"sampling: {negative_prompt: yellow}", "sampling"),
    "no number in a table": (b"model: {adapters: {blended: .nan}}", "model.adapters.blended"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_yaml_is_a_spec_error(case: str, tmp_path: Path) -> None:
    content, key = HOSTILE[case]
    (tmp_path / "s.yaml").write_bytes(content)
    with pytest.raises(SpecError) as caught:
        read_spec(tmp_path / "s.yaml")
    assert caught.value.file == str(tmp_path / "s.yaml")
    assert caught.value.key == key
    assert len(str(caught.value)) < 2000
    assert "hunter2" not in str(caught.value)


def test_an_override_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read_spec(write(tmp_path / "s.yaml", ""), ["sampling.steps=["])
    assert caught.value.file == "--set sampling.steps=["


def test_difference_names_keys() -> None:
    assert spec_difference({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}) == ["a.c: 2 -> 3"]
    assert spec_difference({"a": {}}, {"a": {"x": 1}}) == ["a: {} -> '(absent)'", "a.x: '(absent)' -> 1"]


def test_a_preview_lies_beside_the_build() -> None:
    spec = BuildSpec.model_validate({"output": {"path": "out/demo/"}})
    beside, inside = (preview_spec(spec, 4, beside=beside) for beside in (True, False))
    assert (beside.source.limit, beside.output.path) == (4, "out/demo-preview-4/")
    assert inside.output.path == "out/demo/"
