"""What of a machine decides bytes: device, precision, library versions."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Final

import torch

from dentgen.errors import SpecError
from dentgen.spec.build import BuildSpec

#: Libraries whose version can change a sample's bytes.
_DECIDING_LIBRARIES: Final = ("dentgen", "torch", "diffusers", "transformers", "peft", "numpy", "pillow", "webdataset")


def environment(spec: BuildSpec) -> dict[str, str]:
    """Device kind, precision, slots, threads and library versions.

    Raises:
        SpecError: If the spec asks for what this machine has not.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = spec.engine.dtype if spec.engine.dtype != "auto" else ("float16" if device == "cuda" else "float32")
    kind = torch.cuda.get_device_name() if device == "cuda" else _cpu_kind()
    if spec.engine.cuda_graph and device != "cuda":
        raise SpecError("engine.cuda_graph: found true on a machine without a GPU, expected false")
    return {
        "device": device,
        "device_kind": kind,
        "dtype": dtype,
        "slots": str(spec.engine.slots),
        "control_slots": str(spec.control_slots),
        "threads": str(spec.engine.threads),
        "python": platform.python_version(),
        **{name: version(name) for name in _DECIDING_LIBRARIES},
    }


def _cpu_kind() -> str:
    """The instruction set that torch dispatches to: it decides which kernels run."""
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
