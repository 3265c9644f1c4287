"""The machine's description."""

from __future__ import annotations

import platform
from importlib.metadata import version

import pytest
import torch

from dentgen.benchmark.engine.machine import describe_machine, matmul_tflops, peak_memory_gib, reset_memory

CPU = torch.device("cpu")


@pytest.mark.slow
def test_a_machine_is_described_by_device_and_versions() -> None:
    described = describe_machine(CPU)
    assert described["device"].startswith(platform.machine())
    for library in ("torch", "diffusers", "transformers", "numpy"):
        assert described[library] == version(library)


@pytest.mark.slow
def test_matrix_products_have_a_plausible_speed() -> None:
    assert 1e-3 < matmul_tflops(CPU, torch.float32) < 100


@pytest.mark.slow
def test_a_cpu_has_no_peak_of_device_memory() -> None:
    reset_memory(CPU)
    assert peak_memory_gib(CPU) is None
