"""``dentgen evaluate``: what a model's images are worth, and how procedural mouths compare with real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from dentgen.cli import dataset_measurements, picture_measurements
from dentgen.cli.demo import spec_or_demo
from dentgen.cli.frames import frames
from dentgen.cli.measurement import (
    WORK,
    DilatedSteps,
    JsonFile,
    JudgeRecords,
    Overrides,
    SpecFile,
    UnetSteps,
    Work,
    grouped,
    prepare_folder,
    print_lines,
)
from dentgen.cli.progress import announce
from dentgen.evaluation.judge_settings import DEFAULT_JUDGES, JudgeSettings

app = typer.Typer(no_args_is_help=True, help="Measure images against their maps and reference images.")
for command in (
    dataset_measurements.gate, dataset_measurements.gate_usefulness, dataset_measurements.memorisation, frames,
    picture_measurements.regions, picture_measurements.upscaling, picture_measurements.relighting,
):  # fmt: skip
    app.command()(command)

Records = Annotated[int, typer.Option(min=2, help="Unseen phantoms to measure on.")]
DetectorSteps = Annotated[int, typer.Option(min=1, help="Training steps of each detector.")]

_RECORDS: Final = 256
#: Light settings sampled per surveyed mouth.
_LIGHTS_PER_MOUTH: Final = 20


@app.command()
def fidelity(
    spec: SpecFile = None,
    set_: Overrides = None,
    work: Work = WORK,
    records: Records = _RECORDS,
    judge_records: JudgeRecords = DEFAULT_JUDGES.records,
    unet_steps: UnetSteps = DEFAULT_JUDGES.unet_steps,
    dilated_steps: DilatedSteps = DEFAULT_JUDGES.dilated_steps,
    detector_steps: DetectorSteps = DEFAULT_JUDGES.detector_steps,
    json: JsonFile = None,
) -> None:
    """Measure whether images match their maps, look real, vary, and follow their prompts.

    Renders phantoms that no model was trained on, trains judges on their
    reference images, generates four images per phantom with the spec's
    model, and prints the figures.

    Takes about two hours for the miniature on two cores; another model
    reuses phantoms and judges.

    Example: dentgen evaluate fidelity --set model.bundle=work/miniature --json work/fidelity.json
    """
    announce("evaluate fidelity")
    from dentgen.evaluation.fidelity import FidelitySettings, measure_fidelity
    from dentgen.evaluation.figures import figure_lines, write_figures
    from dentgen.models.native_size import with_size
    from dentgen.spec.yaml_file import read_spec

    prepare_folder(json)
    judges = JudgeSettings(judge_records, unet_steps, dilated_steps, detector_steps)
    build_spec = with_size(read_spec(*spec_or_demo(spec, set_)))
    result = measure_fidelity(FidelitySettings(work, build_spec, records, judges=judges))
    print_lines(figure_lines(result.figures))
    typer.echo(f"best, median, worst ({', '.join(result.sheet_keys)}): {result.sheet}")
    if json is not None:
        write_figures(result.figures, json)


@app.command()
def tstr(
    spec: SpecFile = None,
    set_: Overrides = None,
    build: Annotated[
        str, typer.Option(metavar="FOLDER", help="Finished build to train on; without it, one is made.")
    ] = "",
    work: Work = WORK,
    records: Records = _RECORDS,
    judge_records: Annotated[int, typer.Option(min=2, help="Images that each segmenter is trained on, at most.")] = (
        DEFAULT_JUDGES.records
    ),
    unet_steps: UnetSteps = DEFAULT_JUDGES.unet_steps,
    json: JsonFile = None,
) -> None:
    """Train segmenters on a build, test them on reference images (TSTR).

    Trains segmenters on a build and on as many reference images, and tests
    both on reference images that neither has seen. "Real" are reference
    images of procedural jaws.

    Takes about an hour for the miniature on two cores.

    Example: dentgen evaluate tstr --build out/demo --json work/tstr.json
    """
    from dentgen.evaluation.figures import figure_lines, write_figures

    announce("evaluate tstr")
    from dentgen.evaluation.synthetic_to_real import SyntheticToRealSettings, measure_synthetic_to_real
    from dentgen.models.native_size import with_size
    from dentgen.spec.yaml_file import read_spec

    prepare_folder(json)
    judges = JudgeSettings(judge_records, unet_steps)
    build_spec = with_size(read_spec(*spec_or_demo(spec, set_)))
    figures = measure_synthetic_to_real(SyntheticToRealSettings(work, build_spec, build, records, judges))
    print_lines(figure_lines(figures))
    if json is not None:
        write_figures(figures, json)


@app.command()
def conditioning(
    spec: SpecFile = None,
    set_: Overrides = None,
    way: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:A.B=VALUE|NAME:SPEC",
            help="A way to compare, with a change of its spec or its spec file; repeatable. Without it: the sum of two "
            "adapters (A) and one adapter for the blend (D).",
        ),
    ] = None,
    bundle: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME:BUNDLE", help="Bundle of a way; several give a spread over trainings; repeatable."),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="NAME", help="Way that the others are compared with, figure by figure.")
    ] = None,
    sheet: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw some records as every way does.")] = None,
    work: Work = WORK,
    records: Records = _RECORDS,
    judge_records: JudgeRecords = DEFAULT_JUDGES.records,
    unet_steps: UnetSteps = DEFAULT_JUDGES.unet_steps,
    dilated_steps: DilatedSteps = DEFAULT_JUDGES.dilated_steps,
    json: JsonFile = None,
) -> None:
    """Compare ways of conditioning, each with one bundle or several trainings.

    Generates two images per phantom and bundle, from the same noise in every
    way, and prints means and spreads side by side. With --baseline, it says
    which differences exceed the spread over trainings.

    Takes about three quarters of an hour for two ways of the miniature on two cores.

    Example: dentgen evaluate conditioning --way sum:conditions.combine=sum --way blend:conditions.combine=blend
    """
    announce("evaluate conditioning")
    from dentgen.evaluation import conditioning as study
    from dentgen.evaluation.figures import write_figures
    from dentgen.evaluation.gains import gain_figures, gain_lines, gains_over

    prepare_folder(json)
    prepare_folder(sheet)
    ways = study.read_ways(*spec_or_demo(spec, set_), grouped("--way", way), grouped("--bundle", bundle))
    if baseline is not None:
        study.require_way(ways, baseline)
    judges, drawn = JudgeSettings(judge_records, unet_steps, dilated_steps), None if sheet is None else str(sheet)
    by_way = study.compare_conditioning(study.ConditioningSettings(work, ways, records, judges=judges, sheet=drawn))
    gains = [] if baseline is None else gains_over(by_way, baseline)
    print_lines([*study.conditioning_table(by_way), *gain_lines(gains)])
    if json is not None:
        write_figures(study.conditioning_figures(by_way) | gain_figures(gains), json)


@app.command()
def photos(
    train: Annotated[str, typer.Argument(metavar="TRAIN", help="Labelled photographs to learn from: ann/ and img/.")],
    test: Annotated[str, typer.Argument(metavar="TEST", help="Labelled photographs to be scored on.")],
    synthetic: Annotated[
        str, typer.Argument(metavar="SYNTHETIC", help="Finished build, or condition records with reference pictures.")
    ],
    real: Annotated[str, typer.Option(help="Numbers of real photographs, or all, separated by commas.")] = "10,50,all",
    images: Annotated[int, typer.Option(min=1, help="Synthetic images, at most.")] = 800,
    size: Annotated[int, typer.Option(min=32, help="Edge of all images, a multiple of 32.")] = 128,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of every network.")] = 600,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of every kind.")] = 3,
    encoder: Annotated[
        Literal["pretrained", "scratch"], typer.Option(help="Encoder: pretrained on ImageNet, or from scratch.")
    ] = "pretrained",
    numbered: Annotated[
        str | None, typer.Option(metavar="PLACE", help="Photographs with FDI maps, as condition records.")
    ] = None,
    json: JsonFile = None,
) -> None:
    """Measure what synthetic images are worth on your own photographs.

    Trains networks on synthetic images, on some of your labelled
    photographs and on both, and scores them on others: tooth pixels,
    single teeth and lesions, and with --numbered tooth numbers, which
    photographs hardly ever have. Photographs stay where they are.

    Takes two and a half hours on two cores. Needs pip install 'dentgen[photos]'.

    Example: dentgen evaluate photos photos/train photos/valid conditions/ --seeds 1
    """
    announce("evaluate photos")
    from dentgen.evaluation.figures import write_figures
    from dentgen.evaluation.photos import study
    from dentgen.evaluation.photos.training import TrainingSettings

    prepare_folder(json)
    training = TrainingSettings(steps=steps, encoder=encoder)
    counts = study.parse_counts(real)
    settings = study.PhotoStudy(train, test, synthetic, counts, images, size, tuple(range(seeds)), training, numbered)
    arms = study.measure_photos(settings)
    print_lines(study.study_table(arms))
    if json is not None:
        write_figures(study.study_figures(arms), json)


@app.command()
def phantoms(
    records: Annotated[int, typer.Option(min=2, help="Mouths to survey.")] = 64,
    json: JsonFile = None,
) -> None:
    """Compare procedural mouths with published dental statistics.

    Measures teeth, findings and colours on the mouths themselves, without
    rendering, and prints a Markdown table with the published figures and
    their sources.

    Takes a few seconds.

    Example: dentgen evaluate phantoms --records 150
    """
    announce("evaluate phantoms")
    from dentgen.evaluation.figures import figure_lines, write_figures
    from dentgen.evaluation.phantom_survey import figure_table, survey_lights, survey_mouths
    from dentgen.evaluation.reference_set import TEST_SEED

    prepare_folder(json)
    mouths = survey_mouths(TEST_SEED, records)
    lights = survey_lights(TEST_SEED, _LIGHTS_PER_MOUTH * records)
    typer.echo(figure_table(mouths))
    print_lines(figure_lines(lights))
    if json is not None:
        write_figures({figure.name: figure.found for figure in mouths} | lights, json)
