"""``dentgen benchmark``: speed as ratios of contestants side by side; ``build_benchmarks`` has those of builds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dentgen.cli.build_benchmarks import Rounds, Work, build, driver, gate, overhead, packing, preparation
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
from dentgen.errors import SpecError
from dentgen.redaction import shown

app = typer.Typer(no_args_is_help=True, help="Measure speed, as ratios of contestants that run side by side.")
for command in (build, gate, packing, preparation, overhead, driver):
    app.command()(command)


@app.command()
def engine(
    spec: SpecFile = None,
    set_: Overrides = None,
    model: Annotated[str, typer.Option(help="miniature, sd15 (its size, random weights), or a bundle.")] = "miniature",
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Device of all networks.")] = "cpu",
    slots: Annotated[str, typer.Option(metavar="N,N", help="Values of engine.slots.", show_default="the spec's")] = "",
    variants: Annotated[
        str, typer.Option(metavar="N,N", help="Values of sampling.variants.", show_default="the spec's")
    ] = "",
    decoder: Annotated[
        str, typer.Option(metavar="kl,tiny", help="Values of model.decoder.", show_default="the spec's")
    ] = "",
    regions: Annotated[
        str, typer.Option(metavar="N,N", help="Regions per picture, against a call for each.", show_default="none")
    ] = "",
    times: Annotated[int, typer.Option(min=1, help="Images per slot and round, rounded up to full batches.")] = 4,
    rounds: Rounds = 3,
    json: JsonFile = None,
    *,
    compile_: Annotated[bool, typer.Option("--compile", help="engine.compile for all contestants.")] = False,
    cuda_graph: Annotated[bool, typer.Option("--cuda-graph", help="engine.cuda_graph.")] = False,
) -> None:
    """Compare the engine with its bare networks and with diffusers' own pipeline.

    Measures every combination of slots, variants and decoders on synthetic
    records: throughput ratios, the share of every network, latency of one
    image, and whether bits depend on neighbours; with --regions, what
    pictures with regions cost. Needs neither Ray nor a network connection. The file of --json is written after every
    combination; a combination that fails gives exit code 1.

    Takes about eight minutes per combination for the miniature on one core.

    Example: dentgen benchmark engine --model sd15 --device cuda --slots 16,32 --variants 1,4 --decoder kl,tiny
    """
    announce(f"benchmark engine: {model}")
    import torch

    from dentgen.benchmark.engine.sweep import combinations, run_sweep

    if device == "cuda" and not torch.cuda.is_available():
        raise SpecError(key="--device", found="cuda", expected="cpu on a machine without a GPU")
    prepare_folder(json)
    path, overrides = spec_or_demo(spec, set_)
    switches = [f"engine.{key}=true" for key, on in (("compile", compile_), ("cuda_graph", cuda_graph)) if on]
    specs = combinations(
        path, [*switches, *overrides], model=model, decoders=decoder.split(",") if decoder else (),
        slots=parse_numbers("--slots", slots), variants=parse_numbers("--variants", variants),
    )  # fmt: skip
    with ConsoleProgress("benchmark", "round") as progress:
        report = run_sweep(
            specs, torch.device(device), times=times, rounds=rounds, file=json, log=log_line, progress=progress,
            regions=parse_numbers("--regions", regions),
        )  # fmt: skip
    print_figures(report, json)
    failures = [experiment for experiment in report["experiments"] if "error" in experiment]
    for failure in failures:
        typer.echo(shown(f"error: {failure['combination']}: {failure['error']}"), err=True)
    if failures:
        raise typer.Exit(1)


@app.command("random-bundle")
def random_bundle(
    folder: Annotated[Path, typer.Argument(help="Folder to create.")],
    seed: Annotated[int, typer.Option(help="Seed of the weights.")] = 0,
    dtype: Annotated[Literal["float32", "float16"], typer.Option(help="Precision of the files.")] = "float32",
) -> None:
    """Write a bundle of Stable Diffusion 1.5's size with random weights.

    Two adapters, segmentation and lighting. Takes 6 GB of disk (3 GB in
    float16) and 9 GB of memory. Its pictures are noise: measure loading,
    memory and speed with it.

    Example: dentgen benchmark random-bundle work/random-sd15 --dtype float16
    """
    announce(f"benchmark random-bundle: {folder}")
    import torch

    from dentgen.benchmark.random_bundle import write_random_bundle

    write_random_bundle(folder, seed=seed, dtype=getattr(torch, dtype))
    typer.echo(f"bundle: {folder}")


@app.command()
def conditions(
    sizes: Annotated[str, typer.Option(metavar="N,N", help="Edges of the maps, pixels.")] = "128,512",
    rounds: Rounds = 3,
    json: JsonFile = None,
) -> None:
    """Measure rendering and preparation of condition records, per core.

    Reports how many records one core renders and prepares per second, and how
    many cores keep one GPU busy.

    Takes about two minutes.

    Example: dentgen benchmark conditions --sizes 128 --rounds 1
    """
    announce("benchmark conditions")
    from dentgen.benchmark.conditions import benchmark_conditions

    prepare_folder(json)
    edges = parse_numbers("--sizes", sizes)
    with ConsoleProgress("benchmark", "measurement") as progress:
        print_figures(benchmark_conditions(edges, rounds, progress), json)


@app.command()
def training(
    specs: Annotated[Path, typer.Option(help="Folder of training specs, or one.")] = Path("jobs/miniature"),
    source: Annotated[str, typer.Option(help="Condition records with pictures.")] = "work/phantoms",
    size: Annotated[int, typer.Option(min=16, help="Edge of the images, pixels.")] = 256,
    dtypes: Annotated[str, typer.Option(metavar="NAME,NAME", help="Precisions.")] = "float32,bfloat16",
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where networks train.")] = "cpu",
    steps: Annotated[int, typer.Option(min=1, help="Timed steps of every recipe and precision.")] = 5,
    set_: Overrides = None,
    work: Work = "work/benchmark-training",
    json: JsonFile = None,
) -> None:
    """Measure training steps of every recipe of the miniature under each precision.

    float16 uses a gradient scaler. Every recipe reads what those before it
    exported, so a step that does not train or cannot be written shows too.

    Takes about a quarter of an hour on two cores.

    Example: dentgen benchmark training --source work/phantoms --steps 3
    """
    announce(f"benchmark training: {specs}")
    import torch

    from dentgen.benchmark.gpu.phases import MINIATURE_SPECS
    from dentgen.benchmark.training import benchmark_training, clean

    prepare_folder(json)
    clean(Path(work))
    files = [specs / f"{name}.yaml" for name in MINIATURE_SPECS] if specs.is_dir() else [specs]
    figures = benchmark_training(
        files, (f"source.path={source}", f"conditions.size={size}", "stream=true", *(set_ or ())), dtypes.split(","),
        device=torch.device(device), steps=steps, work=Path(work), file=json, log=log_line,
    )  # fmt: skip
    print_figures(figures, json)
    if figures["failures"]:
        raise typer.Exit(1)


@app.command()
def gpu(
    out: Annotated[Path, typer.Argument(help="Folder for figures, logs and the trained miniature.")],
    seconds: Annotated[float, typer.Option(min=30, help="Time for everything.")] = 560,
    specs: Annotated[Path, typer.Option(help="Folder of the miniature's training specs.")] = Path("jobs/miniature"),
    work: Annotated[Path, typer.Option(help="Intermediate data.")] = Path("work/gpu"),
    *,
    rehearse: Annotated[bool, typer.Option("--rehearse", help="The same at toy size on the processor.")] = False,
) -> None:
    """Use a few minutes of a GPU: measure engine and training, then train the miniature.

    Phases run in order of their worth, each with a time limit, and write
    their figures as they end. The trained miniature comes in pieces of 15
    MiB; 'dentgen models join' puts them together.

    Example: dentgen benchmark gpu results --seconds 560
    """
    announce(f"benchmark gpu: {out}")
    from dentgen.benchmark.gpu.phases import GPU, REHEARSAL
    from dentgen.benchmark.gpu.run import run_gpu_minutes

    if not run_gpu_minutes(REHEARSAL if rehearse else GPU, specs, out, work, seconds, log_line):
        raise typer.Exit(1)
