"""What of a machine decides bytes: device, precision, library versions, rounding; and how it differs from a plan's."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Final

import torch

from dentgen.errors import SpecError
from dentgen.generation.generator import device_and_dtype
from dentgen.generation.numerics import numerics_canary
from dentgen.shards.plan import Plan
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import spec_difference

#: Libraries whose version can change a sample's bytes.
_DECIDING_LIBRARIES: Final = ("dentgen", "torch", "diffusers", "transformers", "peft", "numpy", "pillow", "webdataset")


#: Those that decide what a quality gate measures.
_JUDGING_LIBRARIES: Final = ("imagehash", "scipy")


def environment(spec: BuildSpec) -> dict[str, str]:
    """Device kind, precision, slots, threads, library versions, and digests of fixed computations.

    Raises:
        SpecError: If the spec asks for a GPU feature on a machine without a GPU.
    """
    device, dtype = device_and_dtype(spec)
    if spec.engine.cuda_graph and device != "cuda":
        raise SpecError(key="engine.cuda_graph", found="true on a machine without a GPU", expected="false")
    return {
        "device": device,
        "device_kind": torch.cuda.get_device_name() if device == "cuda" else _cpu_kind(),
        "dtype": dtype,
        "slots": str(spec.engine.slots),
        "control_slots": str(spec.control_slots),
        "threads": str(spec.engine.threads),
        "python": ".".join(platform.python_version_tuple()[:2]),
        **{name: version(name) for name in _DECIDING_LIBRARIES},
        **{name: version(name) for name in (_JUDGING_LIBRARIES if spec.quality.gate is not None else ())},
        **{f"numerics_{name}": value for name, value in numerics_canary(device, dtype, spec.engine.threads)},
    }


def environment_difference(plan: Plan) -> list[str]:
    """How this process's environment differs from a plan's, as ``key: planned -> here``; empty if it does not."""
    return spec_difference(plan.environment, environment(plan.spec))


def _cpu_kind() -> str:
    """The instruction set that torch dispatches to: it decides which kernels run."""
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
