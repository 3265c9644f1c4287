"""Commands of ``dentgen benchmark`` that run builds: the whole pipeline, its parts, and its driver."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from dentgen.cli.demo import spec_or_demo
from dentgen.cli.measurement import (
    JsonFile,
    Overrides,
    SpecFile,
    log_line,
    parse_numbers,
    prepare_folder,
    print_figures,
)
from dentgen.cli.progress import ConsoleProgress, announce

Rounds = Annotated[int, typer.Option(min=1, help="Runs of every contestant; medians are reported.")]
Work = Annotated[str, typer.Option(metavar="FOLDER", help="Intermediate data; emptied first.")]


def build(
    spec: SpecFile = None,
    set_: Overrides = None,
    rounds: Rounds = 3,
    work: Work = "work/benchmark",
    json: JsonFile = None,
) -> None:
    """Compare a build through Ray with the engine alone and with a naive baseline.

    All three generate the same samples, from four copies of the source. The
    naive baseline is Ray Data map_batches around a diffusers loop.

    Takes about half an hour for the demo on two cores.

    Example: dentgen benchmark build --rounds 5 --json work/build.json
    """
    announce("benchmark build")
    from dentgen.benchmark.build import benchmark_build

    _compare(benchmark_build, spec, set_, work, rounds, json, unit="round")


def gate(
    spec: SpecFile = None,
    set_: Overrides = None,
    rounds: Rounds = 3,
    work: Work = "work/benchmark",
    json: JsonFile = None,
) -> None:
    """Measure what the quality gate costs a build.

    Builds without and with the gate through Ray in turn, from four copies
    of the source; the ratio of their times per sample.

    Takes about half an hour for the demo on two cores.

    Example: dentgen benchmark gate --rounds 1 --set sampling.steps=2
    """
    announce("benchmark gate")
    from dentgen.benchmark.gate import benchmark_gate

    _compare(benchmark_gate, spec, set_, work, rounds, json, unit="round")


def packing(
    spec: SpecFile = None,
    set_: Overrides = None,
    packers: Annotated[int, typer.Option(min=1, help="Threads that pack.")] = 2,
    rounds: Rounds = 3,
    work: Work = "work/benchmark",
    json: JsonFile = None,
) -> None:
    """Measure how long the engine waits for packing.

    Makes units in one process as an actor does, with packers that take
    three quarters of the engine's time for them, and again with a lock that
    keeps other units from the engine until one is packed.

    Takes about ten minutes for the demo on two cores.

    Example: dentgen benchmark packing --rounds 1 --set sampling.steps=2
    """
    announce("benchmark packing")
    from dentgen.benchmark.packing import benchmark_packing
    from dentgen.spec.yaml_file import read_spec

    prepare_folder(json)
    build_spec = read_spec(*spec_or_demo(spec, set_))
    with ConsoleProgress("benchmark", "round") as progress:
        print_figures(benchmark_packing(build_spec, work, rounds, packers, log=log_line, progress=progress), json)


def preparation(
    spec: SpecFile = None,
    set_: Overrides = None,
    rounds: Rounds = 3,
    work: Work = "work/benchmark",
    json: JsonFile = None,
) -> None:
    """Measure what it gains to prepare samples while others are sampled.

    Makes units in one process, each of them twice in a row: with samples
    prepared on a thread ahead of the engine, and with all of them prepared
    first. Reports the ratio of speeds and the share of the time in which
    slots wait for preparation. The shards must be the same, byte for byte.

    Takes about ten minutes for the demo on two cores.

    Example: dentgen benchmark preparation --rounds 1 --set source.limit=16
    """
    announce("benchmark preparation")
    from dentgen.benchmark.preparation import benchmark_preparation

    _compare(benchmark_preparation, spec, set_, work, rounds, json, unit="unit")


def overhead(
    spec: SpecFile = None,
    set_: Overrides = None,
    units: Annotated[str, typer.Option(metavar="N,N", help="Units per build, ascending.")] = "100,1000,10000",
    rounds: Rounds = 3,
    work: Work = "work/benchmark",
    json: JsonFile = None,
) -> None:
    """Measure the pipeline's cost per unit, in builds whose units take no time to generate.

    Plans, commits and seals builds of increasing size through Ray; the cost
    per unit should not grow.

    Takes several minutes on two cores.

    Example: dentgen benchmark overhead --units 100,1000 --rounds 1
    """
    announce("benchmark overhead")
    from dentgen.benchmark.overhead import benchmark_overhead
    from dentgen.models.native_size import with_size
    from dentgen.spec.yaml_file import read_spec

    prepare_folder(json)
    counts = parse_numbers("--units", units)
    build_spec = with_size(read_spec(*spec_or_demo(spec, set_)))
    with ConsoleProgress("benchmark", "unit") as progress:
        print_figures(benchmark_overhead(build_spec, work, counts, rounds, log=log_line, progress=progress), json)


def driver(
    spec: SpecFile = None,
    set_: Overrides = None,
    actors: Annotated[str, typer.Option(metavar="N,N", help="Numbers of actors.")] = "1,4,16",
    units: Annotated[str, typer.Option(metavar="N,N", help="Numbers of units.")] = "1000,10000",
    per_process: Annotated[int, typer.Option(min=1, help="Actors in each process of 0.1 GB.")] = 1,
    work: Work = "work/benchmark",
    json: JsonFile = None,
) -> None:
    """Measure the driver's processor time per unit, by the number of actors.

    For builds with a range of actors, whose driver hands out every unit.
    Units take no time to generate and commits write nothing; everything else
    is a build. Fits a fixed cost and one per unit, and extrapolates. A build
    has one actor in each process; hundreds of processes need a big machine.

    Takes several minutes on two cores.

    Example: dentgen benchmark driver --actors 1,4 --units 1000
    """
    announce("benchmark driver")
    from dentgen.benchmark.driver import benchmark_driver
    from dentgen.models.native_size import with_size
    from dentgen.spec.yaml_file import read_spec

    prepare_folder(json)
    numbers, counts = parse_numbers("--actors", actors), parse_numbers("--units", units)
    build_spec = with_size(read_spec(*spec_or_demo(spec, set_)))
    with ConsoleProgress("benchmark", "unit") as progress:
        figures = benchmark_driver(build_spec, work, numbers, counts, per_process, log=log_line, progress=progress)
        print_figures(figures, json)


def _compare(
    benchmark: Callable[..., dict[str, Any]], spec: Path | None, overrides: list[str] | None, work: str, rounds: int,
    json: Path | None, *, unit: str,
) -> None:  # fmt: skip
    """Run a benchmark of rounds at the bundle's own size and print its figures."""
    from dentgen.models.native_size import with_size
    from dentgen.spec.yaml_file import read_spec

    prepare_folder(json)
    build_spec = with_size(read_spec(*spec_or_demo(spec, overrides)))
    with ConsoleProgress("benchmark", unit) as progress:
        print_figures(benchmark(build_spec, work, rounds, log=log_line, progress=progress), json)
