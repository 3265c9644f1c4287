"""A sweep over combinations of slots, variants and decoders; the report is written after each."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch

from dentgen.benchmark.engine.experiment import run_experiment
from dentgen.benchmark.engine.machine import describe_machine, matmul_tflops, reset_memory
from dentgen.errors import EngineError, is_out_of_memory
from dentgen.generation.threads import torch_threads
from dentgen.models.bundle import Bundle, load_bundle
from dentgen.models.native_size import with_size
from dentgen.models.sd15 import SD15, SIZE, random_sd15
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import read_spec


def combinations(
    spec: Path,
    overrides: Sequence[str],
    *,
    model: str,
    slots: Sequence[int] = (),
    variants: Sequence[int] = (),
    decoders: Sequence[str] = (),
) -> list[BuildSpec]:
    """Read a spec per combination; an empty list keeps the spec's own value.

    Args:
        spec: YAML file.
        overrides: ``a.b=value`` changes of all combinations.
        model: Bundle, or ``sd15`` for networks of that size with random weights.
        slots: Values of ``engine.slots``.
        variants: Values of ``sampling.variants``.
        decoders: Values of ``model.decoder``.

    Raises:
        SpecError: If the spec file or a value is wrong.
    """
    own = [f"model.bundle={model}"]
    own += ["model.adapters={}", f"conditions.size={SIZE}"] if model == SD15 else []
    axes = {"model.decoder": decoders, "sampling.variants": variants, "engine.slots": slots}
    choices = [[f"{key}={value}" for value in values] or [""] for key, values in axes.items()]
    specs = [
        read_spec(spec, [*own, *overrides, *(override for override in chosen if override)])
        for chosen in product(*choices)
    ]
    return specs if model == SD15 else [with_size(each) for each in specs]


def run_sweep(
    specs: Sequence[BuildSpec],
    device: torch.device,
    *,
    times: int,
    rounds: int,
    file: Path | None,
    log: Callable[[str], None],
    progress: Callable[[int, int], None],
    regions: Sequence[int] = (),
) -> dict[str, Any]:
    """Measure every combination.

    Args:
        specs: The combinations.
        device: Device of all networks.
        times: Images per slot and round.
        rounds: Runs of every contestant.
        file: JSON report, written after every combination; None writes none.
        log: Called with a line as each combination proceeds.
        progress: Called with finished and planned rounds.
        regions: Numbers of regions of a picture whose cost is measured as well.

    Returns:
        ``experiments``, one per combination, with ``error`` if it failed; ``ratios``, ``spread``, ``of_predicted`` and
        ``limits`` of the first that succeeded; ``machine`` and ``matmul_tflops``.

    Raises:
        BundleError: If a bundle cannot be loaded.
        SpecError: If the contestants cannot do the same work.
    """
    report: dict[str, Any] = {"machine": describe_machine(device), "matmul_tflops": {}, "experiments": []}
    loaded: dict[tuple[str, ...], Bundle] = {}
    progress(0, len(specs) * rounds)
    for number, spec in enumerate(specs):
        dtype = _dtype(spec, device)
        peaks = report["matmul_tflops"]
        peaks.setdefault(str(dtype), matmul_tflops(device, dtype))
        log(f"combination {number + 1} of {len(specs)}: {_name(spec)}")
        began = time.perf_counter()
        bundle = _bundle(spec, device, dtype, loaded)
        with torch_threads(spec.engine.threads):
            experiment = _measure(
                spec, bundle, times=times, rounds=rounds, peak=peaks[str(dtype)], log=log, regions=regions,
                progress=lambda done, before=number * rounds: progress(before + done, len(specs) * rounds),
            )  # fmt: skip
        report["experiments"].append({**experiment, "seconds": time.perf_counter() - began})
        report = {**_headline(report["experiments"]), **report}
        _write(report, file)
    return _rounded(report)


def _measure(spec: BuildSpec, bundle: Bundle, **options: Any) -> dict[str, Any]:
    """The combination's figures, or the error that stopped it."""
    torch.compiler.reset()  # every shape is its own graph, and torch stops compiling after a few
    try:
        return run_experiment(spec, bundle, **options)
    except Exception as error:
        if not isinstance(error, EngineError) and not is_out_of_memory(error):
            raise
        return {"combination": _name(spec), "error": f"{type(error).__name__}: {str(error)[:500]}"}
    finally:
        reset_memory(bundle.unet.device)


def _bundle(spec: BuildSpec, device: torch.device, dtype: torch.dtype, loaded: dict[tuple[str, ...], Bundle]) -> Bundle:
    """Load the spec's bundle; the last one is cached."""
    name = (spec.model.model_dump_json(), str(dtype))
    if name not in loaded:
        loaded.clear()
        reset_memory(device)
        loaded[name] = _load(spec, device, dtype)
    return loaded[name]


def _load(spec: BuildSpec, device: torch.device, dtype: torch.dtype) -> Bundle:
    model = spec.model
    if model.bundle == SD15:
        return random_sd15(decoder=model.decoder, device=device, dtype=dtype)
    return load_bundle(model, device=device, dtype=dtype)


def _dtype(spec: BuildSpec, device: torch.device) -> torch.dtype:
    if spec.engine.dtype != "auto":
        return getattr(torch, spec.engine.dtype)
    return torch.float16 if device.type == "cuda" else torch.float32


def _headline(experiments: Sequence[dict[str, Any]]) -> dict[str, Any]:
    measured = [experiment for experiment in experiments if "ratios" in experiment]
    return {key: measured[0][key] for key in ("ratios", "spread", "of_predicted", "limits")} if measured else {}


def _name(spec: BuildSpec) -> str:
    return f"{spec.engine.slots} slots, {spec.sampling.variants} variants, decoder {spec.model.decoder}"


def _write(report: dict[str, Any], file: Path | None) -> None:
    if file is not None:
        file.write_text(json.dumps(_rounded(report), indent=1) + "\n")


def _rounded(values: Any) -> Any:
    """Round floats to four significant digits, about the accuracy of the measurements."""
    if isinstance(values, dict):
        return {key: _rounded(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_rounded(value) for value in values]
    return float(f"{values:.4g}") if isinstance(values, float) else values
