"""Rows of the user: adapters and students, as texts and from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.errors import SpecError
from dentgen.evaluation.tables.options import parse_adapters, parse_students, read_students
from tests.evaluation.small_evaluation import small_build_spec


def test_a_bundle_may_have_colons() -> None:
    texts = ["reward=work/mini:rewarded", "far=s3://bucket/mini:own"]
    assert parse_adapters(texts) == {"reward": ("work/mini", "rewarded"), "far": ("s3://bucket/mini", "own")}


@pytest.mark.parametrize("text", ["reward", "reward=bundle", "=bundle:own", "reward=:own", "reward=bundle:"])
def test_an_adapter_has_three_parts(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_adapters([text])
    assert (caught.value.key, caught.value.found) == ("--adapter", text)


def test_an_adapter_has_one_row() -> None:
    with pytest.raises(SpecError) as caught:
        parse_adapters(["a=b:c", "a=d:e"])
    assert caught.value.found == "a twice"


def test_a_student_brings_its_lora_sampler_and_timesteps() -> None:
    two, bare = parse_students(["PCM 2=pcm:ddim:2:999,499", "plain=:euler:6"])
    spec = small_build_spec(*two.changes)
    assert two.name == "PCM 2"
    assert spec.model.loras == {"pcm": 1.0}
    assert (spec.sampling.scheduler, spec.sampling.steps, spec.sampling.timesteps) == ("ddim", 2, (999, 499))
    other = small_build_spec("model.loras={own: 0.5}", *bare.changes)
    assert (other.model.loras, other.sampling.timesteps) == ({}, None), "an empty LORA is none, not the spec's"


@pytest.mark.parametrize("text", ["a", "a=lora:lcm", "a=lora:lcm:x", "a=lora:lcm:2:9,", "=lora:lcm:2", "a=b:c:1:2:3"])
def test_a_student_is_spelled_out(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_students([text])
    assert (caught.value.key, caught.value.found) == ("--student", text)


def test_a_file_names_students_that_need_more(tmp_path: Path) -> None:
    file = tmp_path / "students.yaml"
    file.write_text("one step: [model.bundle=work/sdxs, sampling.scheduler=ddim, sampling.steps=1]\n")
    (student,) = read_students(file)
    spec = small_build_spec(*student.changes)
    assert (student.name, spec.model.bundle, spec.sampling.steps) == ("one step", "work/sdxs", 1)
    file.write_text("good: [a.b=1]\nbad: sampling.steps=1\n")
    with pytest.raises(SpecError) as caught:
        read_students(file)
    assert (caught.value.file, caught.value.key) == (str(file), "bad")
