"""Specs as files: YAML 1.2, unknown keys, overrides, hostile input, differences."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.errors import SpecError
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import preview_spec, read_spec, require_places, spec_difference


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
    """1e-4 is a number, no is text; what looks like another number in YAML 1.1 is text, too."""
    path = write(tmp_path / "s.yaml", "sampling: {prompt: no, seed: 0x10, guidance_scale: 1e-4}\nsource: {split: 010}")
    sampling = read_spec(path).sampling
    assert (sampling.prompt, sampling.seed, sampling.guidance_scale) == ("no", 16, 1e-4)
    assert read_spec(path).source.split == "010"


@pytest.mark.parametrize("text", ["010", "1:30", "yes", "on", "2026-01-31", "0b1", "007", "-012", "1:30.5", "~x", "0o"])
@pytest.mark.parametrize("directive", ["", "%YAML 1.1\n---\n"])
def test_ambiguous_scalars_are_text(text: str, directive: str, tmp_path: Path) -> None:
    """Never a number or boolean where text is wanted, and refused by name where a number is."""
    path = write(tmp_path / "s.yaml", f"{directive}sampling: {{prompt: {text}}}\n")
    assert read_spec(path).sampling.prompt == text
    for key in ("steps", "guidance_scale"):
        with pytest.raises(SpecError) as caught:
            read_spec(write(tmp_path / "s.yaml", f"{directive}sampling: {{{key}: {text}}}\n"))
        assert caught.value.key == f"sampling.{key}"
        assert text in caught.value.found
        assert caught.value.expected


@pytest.mark.parametrize("value", ["true", "'010'", "'1_0'"])
def test_booleans_and_odd_texts_are_no_numbers(value: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read_spec(write(tmp_path / "s.yaml", f"sampling: {{steps: {value}}}"))
    assert caught.value.key == "sampling.steps"
    assert caught.value.found
    assert "number" in caught.value.expected


#: Wrong value of a key, what is found and what is expected.
LIMITS = {
    "sampling.steps": ("0", "0", "greater than or equal to 1"),
    "sampling.strength": ("2", "2", "less than or equal to 1"),
    "sampling.scheduler": ("eular", "'eular'", "'euler'"),
    "sampling.timesteps": ("[]", "()", "at least 1 item"),
    "conditions.size": ("63", "63", "a multiple of 8"),
    "conditions.alpha": (".nan", "nan", "a finite number"),
    "source.path": ("''", "''", "at least 1 character"),
    "source.format": ("zip", "'zip'", "'webdataset'"),
    "output.path": ("3", "3", "a valid string"),
    "model.adapters": ("7", "7", "a valid dictionary"),
    "engine.slots": ("many", "'many'", "a valid integer"),
}


@pytest.mark.parametrize("key", LIMITS)
def test_limits_say_what_was_found_and_expected(key: str, tmp_path: Path) -> None:
    value, found, expected = LIMITS[key]
    with pytest.raises(SpecError) as caught:
        read_spec(write(tmp_path / "s.yaml", ""), [f"{key}={value}"])
    faults = [fault for fault in caught.value.faults if expected in fault.expected]
    assert faults, str(caught.value)
    assert faults[0].key == f"--set {key}"
    assert faults[0].found.strip("[]()") == found.strip("[]()")
    assert faults[0].message == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("smile #2", "smile #2"), ("a: b", "a: b"), ("  two words ", "two words"), ("", None), ("~", None),
        ("null", None), ("'null'", "null"), ("Zähne", "Zähne"), ("teeth:", "teeth:"), ("#1", "#1"), ("'a #b'", "a #b"),
        ("yes", "yes"), ("010", "010"), ("a\r\n", "a"),
    ],
)  # fmt: skip
def test_overrides_keep_their_text(text: str, value: str | None, tmp_path: Path) -> None:
    assert read_spec(write(tmp_path / "s.yaml", ""), [f"sampling.prompt={text}"]).sampling.prompt == value
    assert read_spec(write(tmp_path / "s.yaml", ""), ["model.adapters={blended: 1}"]).model.adapters == {"blended": 1}


def test_bom_and_line_ends_of_windows_are_read(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_bytes(b"\xef\xbb\xbfsampling:\r\n  steps: 8\r\n")
    assert read_spec(tmp_path / "s.yaml").sampling.steps == 8


def test_no_python_objects_from_yaml(tmp_path: Path) -> None:
    with pytest.raises(SpecError):
        read_spec(write(tmp_path / "s.yaml", "source: !!python/object/apply:os.system ['true']"))


#: Content, and the key that the error names, "" where the file is no spec at all.
HOSTILE = {
    "not UTF-8": (b"source: {path: '\xff'}", ""),
    "too deep": (b"[" * 2000, ""),
    "too large": (b"# " + b"x" * 70_000, ""),
    "without end": (b"source: &a {path: *a}", ""),
    "aliases of aliases": (
        b"a: &a [x, x, x, x, x, x, x, x, x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (n + 1, n + 1, b", ".join([b"*%c" % n] * 9)) for n in range(97, 106)),
        "",
    ),
    "a number of 5000 digits": (b"sampling: {steps: " + b"9" * 5000 + b"}", ""),
    "tabs": (b"sampling:\n\tsteps: 8", ""),
    "several documents": (b"{}\n---\n{}", ""),
    "UTF-16": ("sampling: {}".encode("utf-16"), ""),
    "a key that is a number": (b"1: 2", "1"),
    "no number in a config": (b"sampling: {scheduler_options: {x: .nan}}", "sampling.scheduler_options.x"),
    "an alias of nothing": (b"source: *a", ""),
    "a null key": (b"~: 2", "None"),
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


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("", "source.path and output.path"),
        ("{}", "source.path and output.path"),
        ("source: {limit: 3}\noutput: {path: o}", "source.path"),
        ("source: {path: s}", "output.path"),
    ],
)
def test_a_build_starts_only_between_named_places(text: str, missing: str, tmp_path: Path) -> None:
    file = write(tmp_path / "s.yaml", text)
    with pytest.raises(SpecError) as caught:
        require_places(read_spec(file), file)
    assert (caught.value.file, caught.value.key) == (str(file), missing)
    require_places(read_spec(file, ["source.path=s", "output.path=o"]), file)


def test_a_key_of_several_kinds_has_one_fault(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read_spec(write(tmp_path / "s.yaml", "sampling: {scheduler: unipcc}"))
    assert len(caught.value.faults) == 1
    assert caught.value.key == "sampling.scheduler"
    assert "'unipc'" in str(caught.value.expected)
