"""Errors carry fields, compose their text from them and survive pickling."""

from __future__ import annotations

import pickle

import pytest

from dentgen import errors
from dentgen.errors import (
    BuildError,
    ConditionError,
    DentgenError,
    DeterminismError,
    SpecError,
    TrainingError,
    exit_code,
    faults_of,
    is_device_fault,
    is_out_of_memory,
)
from dentgen.spec.build import BuildSpec


def test_text_is_composed_of_the_fields_that_are_set() -> None:
    whole = BuildError("damaged", file="a.tar", key="k", found=3, expected=4, advice="repair it")
    assert str(whole) == "a.tar: k: damaged: found 3, expected 4; repair it"
    assert str(BuildError("damaged")) == "damaged"
    assert str(SpecError(key="steps", found=0)) == "steps: found 0"
    assert (
        str(ConditionError("a.tar: k.seg.png", "mode P", "mode L")) == "a.tar: k.seg.png: found mode P, expected mode L"
    )


@pytest.mark.parametrize("kind", [kind for kind in vars(errors).values() if isinstance(kind, type)
                                  and issubclass(kind, DentgenError)])  # fmt: skip
def test_errors_survive_pickling(kind: type[DentgenError]) -> None:
    """They travel from child processes and Ray workers."""
    error = kind(file="f", found="a", expected="b")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (copy.file, copy.found, copy.expected, str(copy)) == ("f", "a", "b", str(error))


def test_exit_codes() -> None:
    codes = {BuildError: 1, DeterminismError: 1, TrainingError: 1, SpecError: 2, ConditionError: 2}
    assert {kind: exit_code(kind()) for kind in codes} == codes


def test_one_error_for_all_faults_of_a_spec() -> None:
    error = SpecError.of_faults("s.yaml", [SpecError(key="a", found=1), SpecError(key="b", found=2)])
    assert (error.file, error.key, error.found) == ("s.yaml", "a", 1)
    assert [fault.key for fault in error.faults] == ["a", "b"]
    assert str(error).splitlines() == ["s.yaml:", "  a: found 1", "  b: found 2"]


def test_faults_of_pydantic_are_counted_and_cut() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - pydantic's
        BuildSpec.model_validate({f"k{n}": n for n in range(8)})
    text = faults_of(caught.value)
    assert all(f"k{n}: " in text for n in range(5))
    assert "k5" not in text
    assert text.endswith("and 3 more")
    assert faults_of(ValueError("plain")) == "plain"


def test_memory_and_device_failures_are_recognised() -> None:
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")):
        assert is_out_of_memory(error)
        assert is_device_fault(error)
    fault = RuntimeError("CUDA error: an illegal memory access was encountered")
    assert is_device_fault(fault)
    assert not is_out_of_memory(fault)
    assert not is_device_fault(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_device_fault(ValueError("out of memory"))
