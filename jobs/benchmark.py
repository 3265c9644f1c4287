"""Measure speed: ``python jobs/benchmark.py engine|build|pipeline|conditions [--json FILE] [--rounds N]``.

Ratios of contestants that run side by side, several rounds, medians and spread: absolute speeds mean little elsewhere.
``engine`` needs neither Ray nor a network: torch, transformers, diffusers, peft and pydantic are enough.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from dentgen.errors import DentgenError, exit_code


def main() -> int:
    """Parse, measure, print, return an exit code."""
    arguments = _parse()
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
    try:
        what = {"engine": _engine, "build": _build, "pipeline": _pipeline, "conditions": _conditions}
        figures = what[arguments.what](arguments)
    except DentgenError as error:
        print(f"error: {error}", file=sys.stderr)
        return exit_code(error)
    print(json.dumps(figures, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    failed = [experiment["error"] for experiment in figures.get("experiments", []) if "error" in experiment]
    print(*(f"error: {error}" for error in failed), sep="\n", end="", file=sys.stderr)
    return 1 if failed else 0


def _parse() -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--spec", type=Path, default=Path("jobs/specs/demo.yaml"))
    common.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", dest="overrides")
    common.add_argument("--rounds", type=int, default=3)
    common.add_argument("--json", type=Path, help="figures as a file; engine writes it after every combination")
    parser = argparse.ArgumentParser(description=__doc__)
    subparsers = parser.add_subparsers(dest="what", required=True)
    build = subparsers.add_parser("build", parents=[common], help="a build through Ray, the engine and the usual way")
    build.add_argument("--work", default="work/benchmark")
    conditions = subparsers.add_parser("conditions", parents=[common], help="rendering and preparing records, per core")
    conditions.add_argument("--sizes", type=_numbers, default=[128, 512], metavar="N,N")
    pipeline = subparsers.add_parser("pipeline", parents=[common], help="what a unit costs beside its making")
    pipeline.add_argument("--work", default="work/benchmark")
    pipeline.add_argument("--units", type=_numbers, default=[100, 1000, 10000], metavar="N,N")
    engine = subparsers.add_parser("engine", parents=[common], help="the engine, its bare networks and diffusers")
    engine.add_argument("--model", default="miniature", help="miniature, sd15 (its size, random weights) or a bundle")
    engine.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    engine.add_argument("--slots", type=_numbers, default=(), metavar="N,N")
    engine.add_argument("--variants", type=_numbers, default=(), metavar="N,N")
    engine.add_argument("--decoder", type=lambda text: text.split(","), default=(), metavar="kl,tiny")
    engine.add_argument("--times", type=int, default=4, help="pictures per slot and round, rounded up to full batches")
    engine.add_argument("--compile", action="store_true", help="engine.compile")
    engine.add_argument("--cuda-graph", action="store_true", help="engine.cuda_graph")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _build(arguments: argparse.Namespace) -> dict[str, Any]:
    from dentgen.benchmark.build import benchmark_build
    from dentgen.spec.yaml_file import read_spec

    spec = read_spec(arguments.spec, arguments.overrides)
    return benchmark_build(spec, arguments.work, arguments.rounds, _say)


def _conditions(arguments: argparse.Namespace) -> dict[str, Any]:
    from dentgen.benchmark.conditions import benchmark_conditions

    return benchmark_conditions(tuple(arguments.sizes), arguments.rounds, _say)


def _pipeline(arguments: argparse.Namespace) -> dict[str, Any]:
    from dentgen.benchmark.overhead import benchmark_pipeline
    from dentgen.spec.yaml_file import read_spec

    spec = read_spec(arguments.spec, arguments.overrides)
    return benchmark_pipeline(spec, arguments.work, arguments.units, arguments.rounds, _say)


def _engine(arguments: argparse.Namespace) -> dict[str, Any]:
    import torch

    from dentgen.benchmark.engine.sweep import combinations, run_sweep

    wanted = {"engine.compile": arguments.compile, "engine.cuda_graph": arguments.cuda_graph}
    specs = combinations(
        arguments.spec,
        [*(f"{key}=true" for key, is_wanted in wanted.items() if is_wanted), *arguments.overrides],
        model=arguments.model,
        slots=arguments.slots,
        variants=arguments.variants,
        decoders=arguments.decoder,
    )
    device = torch.device(arguments.device)
    return run_sweep(specs, device, times=arguments.times, rounds=arguments.rounds, file=arguments.json, say=_say)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
