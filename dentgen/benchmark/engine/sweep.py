"""Every combination that was asked for, one after the other; what is known is written down after each.

Refuses to know how one combination is measured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch

from dentgen.benchmark.engine.experiment import run_experiment
from dentgen.benchmark.engine.machine import describe_machine, forget_memory, matmul_tflops
from dentgen.errors import EngineError, is_out_of_memory
from dentgen.models.bundle import Bundle, load_chosen
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
    """A spec for every combination; where a list is empty, the spec's own value.

    Raises:
        SpecError: If the spec file or a value is wrong.
    """
    own = [f"model.bundle={model}"]
    own += ["model.adapters={}", f"conditions.size={SIZE}"] if model == SD15 else []
    axes = {"model.decoder": decoders, "sampling.variants": variants, "engine.slots": slots}
    choices = [[f"{key}={value}" for value in values] or [""] for key, values in axes.items()]
    return [
        read_spec(spec, [*own, *overrides, *(override for override in chosen if override)])
        for chosen in product(*choices)
    ]


def run_sweep(
    specs: Sequence[BuildSpec],
    device: torch.device,
    *,
    times: int,
    rounds: int,
    file: Path | None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Measure every combination.

    Args:
        specs: The combinations.
        device: Where.
        times: Pictures per slot and round.
        rounds: How often every contestant runs.
        file: Written after every combination.
        say: Told how it goes.

    Returns:
        ``experiments``, one per combination, with ``error`` where it failed; and ``ratios``, ``spread``,
        ``of_predicted`` and ``limits`` of the first that did not.

    Raises:
        BundleError: If a bundle cannot be loaded.
        SpecError: If contestants would not do the same work.
    """
    report: dict[str, Any] = {"machine": describe_machine(device), "matmul_tflops": {}, "experiments": []}
    torch.set_num_threads(specs[0].engine.threads)
    loaded: dict[tuple[str, ...], Bundle] = {}
    for number, spec in enumerate(specs):
        dtype = _dtype(spec, device)
        peaks = report["matmul_tflops"]
        peaks.setdefault(str(dtype), matmul_tflops(device, dtype))
        say(f"{number + 1} of {len(specs)}: {_name(spec)}")
        began = time.perf_counter()
        bundle = _bundle(spec, device, dtype, loaded)
        found = _measured(spec, bundle, times=times, rounds=rounds, peak=peaks[str(dtype)], say=say)
        report["experiments"].append({**found, "seconds": time.perf_counter() - began})
        report = {**_headline(report["experiments"]), **report}
        _write(report, file)
    return _rounded(report)


def _measured(spec: BuildSpec, bundle: Bundle, **options: Any) -> dict[str, Any]:
    """The combination's figures, or what kept it from having any."""
    torch.compiler.reset()  # every shape is a graph of its own, and torch keeps only few before it gives up compiling
    try:
        return run_experiment(spec, bundle, **options)
    except Exception as error:
        if not isinstance(error, EngineError) and not is_out_of_memory(error):
            raise
        return {"combination": _name(spec), "error": f"{type(error).__name__}: {str(error)[:500]}"}
    finally:
        forget_memory(bundle.unet.device)


def _bundle(spec: BuildSpec, device: torch.device, dtype: torch.dtype, loaded: dict[tuple[str, ...], Bundle]) -> Bundle:
    """The spec's bundle; the last one stays loaded."""
    name = (spec.model.model_dump_json(), str(dtype))
    if name not in loaded:
        loaded.clear()
        forget_memory(device)
        loaded[name] = _load(spec, device, dtype)
    return loaded[name]


def _load(spec: BuildSpec, device: torch.device, dtype: torch.dtype) -> Bundle:
    model = spec.model
    if model.bundle == SD15:
        return random_sd15(decoder=model.decoder, device=device, dtype=dtype)
    return load_chosen(model, device=device, dtype=dtype)


def _dtype(spec: BuildSpec, device: torch.device) -> torch.dtype:
    if spec.engine.dtype != "auto":
        return getattr(torch, spec.engine.dtype)
    return torch.float16 if device.type == "cuda" else torch.float32


def _headline(experiments: Sequence[dict[str, Any]]) -> dict[str, Any]:
    whole = [experiment for experiment in experiments if "ratios" in experiment]
    return {key: whole[0][key] for key in ("ratios", "spread", "of_predicted", "limits")} if whole else {}


def _name(spec: BuildSpec) -> str:
    return f"{spec.engine.slots} slots, {spec.sampling.variants} variants, decoder {spec.model.decoder}"


def _write(report: dict[str, Any], file: Path | None) -> None:
    if file is not None:
        file.write_text(json.dumps(_rounded(report), indent=1) + "\n")


def _rounded(values: Any) -> Any:
    """Four digits that count: what is measured here is not known better."""
    if isinstance(values, dict):
        return {key: _rounded(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_rounded(value) for value in values]
    return float(f"{values:.4g}") if isinstance(values, float) else values
