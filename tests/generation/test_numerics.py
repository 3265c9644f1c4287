"""The canary: equal in equal processes, and different wherever pictures are."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from dentgen.generation.numerics import numerics_canary
from tests.conftest import ROOT

SCRIPT = """
import json, torch
from dentgen.generation.numerics import numerics_canary
print(json.dumps(numerics_canary("cpu", "float32", 1)))
"""


def canary(**variables: str) -> dict[str, str]:
    """The canary of a process with these environment variables."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    return dict(json.loads(run.stdout.splitlines()[-1]))


def test_a_canary_does_not_depend_on_threads_of_the_caller_or_on_repetition() -> None:
    first = numerics_canary("cpu", "float32", 1)
    numerics_canary.cache_clear()
    assert numerics_canary("cpu", "float32", 1) == first
    assert [name for name, _ in first] == ["matmul", "attention", "convolution", "decode"]


def test_precisions_differ() -> None:
    pairs = zip(numerics_canary("cpu", "float32", 1), numerics_canary("cpu", "bfloat16", 1), strict=True)
    assert all(one != other for one, other in pairs)


@pytest.mark.slow
def test_a_process_with_other_kernels_is_told_apart() -> None:
    """These variables change pictures by a level; of a processor without AVX-512, the second may change nothing."""
    here = canary()
    assert here == dict(numerics_canary("cpu", "float32", 1))
    if here == canary(MKL_CBWR="COMPATIBLE"):
        pytest.skip("this build of torch does not use MKL")
    assert here["matmul"] != canary(MKL_CBWR="COMPATIBLE")["matmul"]


PICTURES = """
import hashlib, json, sys, torch
import numpy as np
import dentgen
from dentgen.pipeline.environment import environment
pipe = dentgen.Pipeline.from_bundle("miniature", conditions={"size": 128}, sampling={"steps": 2}, engine={"slots": 4})
maps = {"segmentation": np.full((128, 128), 2, np.uint8), "lighting": np.full((128, 128), 128, np.uint8)}
images = pipe(**maps, prompt="frontal view", num_images_per_prompt=4, seed=3).images
digest = hashlib.sha256(b"".join(np.asarray(image).tobytes() for image in images)).hexdigest()
print(json.dumps([digest, environment(pipe.spec)]))
"""


def pictures(**variables: str) -> tuple[str, dict[str, str]]:
    """Digest of four pictures, and the environment that a plan would hold."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    run = subprocess.run([sys.executable, "-c", PICTURES], env=variables, capture_output=True, text=True, check=True)
    digest, environment = json.loads(run.stdout.splitlines()[-1])
    return digest, environment


@pytest.mark.slow
def test_other_pictures_come_with_another_environment() -> None:
    here = pictures()
    assert pictures() == here
    changed = 0
    for name, value in (
        ("MKL_CBWR", "COMPATIBLE"), ("MKL_ENABLE_INSTRUCTIONS", "AVX2"), ("ONEDNN_MAX_CPU_ISA", "AVX2"),
        ("ATEN_CPU_CAPABILITY", "avx2"),
    ):  # fmt: skip
        there = pictures(**{name: value})
        assert there[0] == here[0] or there[1] != here[1], name
        changed += there[0] != here[0]
    assert changed, "some of them change pictures on every processor"
