"""Measure a model: ``python jobs/evaluate.py fidelity|tstr|adapters|phantoms [--json FILE] [--set A.B=VALUE]``.

``fidelity`` renders phantoms that were never trained on, trains judges on their reference pictures, generates, and
prints figures. ``tstr`` trains segmenters on a build and on reference pictures and tests both on unseen ones.
``adapters`` compares ways of conditioning, each with several bundles:
``--way A conditions.combine=sum 'model.adapters={segmentation: 1, lighting: 1}' --bundles A FOLDER FOLDER``.
Phantoms, judges and builds stay in the work folder (``--work``), which serves any number of models. ``phantoms``
surveys procedural mouths and prints them beside published dental statistics.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dentgen.errors import DentgenError, exit_code
from dentgen.evaluation.conditioning import StudySettings, compare_adapters, read_ways, study_figures, study_table
from dentgen.evaluation.fidelity import FidelitySettings, figure_lines, measure_fidelity, write_figures
from dentgen.evaluation.judge_cache import DEFAULT_JUDGES, JudgeSettings
from dentgen.evaluation.phantom_survey import figure_table, survey_lights, survey_mouths
from dentgen.evaluation.reference_set import TEST_SEED
from dentgen.evaluation.synthetic_to_real import SyntheticToRealSettings, measure_synthetic_to_real
from dentgen.spec.yaml_file import read_spec


def main() -> int:
    """Parse, measure, print, return an exit code."""
    arguments = _arguments()
    try:
        match arguments.what:
            case "fidelity":
                figures = _fidelity(arguments)
            case "tstr":
                figures = _tstr(arguments)
            case "adapters":
                figures = _adapters(arguments)
            case _:
                figures = _survey(arguments)
    except DentgenError as error:
        print(f"error: {error}", file=sys.stderr)
        return exit_code(error)
    if arguments.json:
        write_figures(figures, arguments.json)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["fidelity", "tstr", "adapters", "phantoms"])
    parser.add_argument("--spec", type=Path, default=Path("jobs/specs/demo.yaml"))
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", dest="overrides")
    parser.add_argument("--work", default="work/evaluate", help="keeps phantoms, judges and builds")
    parser.add_argument("--records", type=int, help="phantoms to measure on (256), or mouths to survey (64)")
    parser.add_argument("--judge-records", type=int, default=DEFAULT_JUDGES.records, help="that judges learn from")
    parser.add_argument("--unet-steps", type=int, default=DEFAULT_JUDGES.unet_steps)
    parser.add_argument("--dilated-steps", type=int, default=DEFAULT_JUDGES.dilated_steps)
    parser.add_argument("--detector-steps", type=int, default=DEFAULT_JUDGES.detector_steps)
    parser.add_argument("--build", default="", help="tstr: a finished build to learn from")
    parser.add_argument("--way", action="append", default=[], nargs="+", metavar=("NAME", "SPEC|A.B=VALUE"))
    parser.add_argument("--bundles", action="append", default=[], nargs="+", metavar=("NAME", "BUNDLE"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    arguments.records = arguments.records or (64 if arguments.what == "phantoms" else 256)
    return arguments


def _fidelity(arguments: argparse.Namespace) -> dict[str, float]:
    spec = read_spec(arguments.spec, arguments.overrides)
    found = measure_fidelity(FidelitySettings(arguments.work, spec, arguments.records, judges=_judges(arguments)))
    print(*figure_lines(found.figures), f"best, median, worst ({', '.join(found.sheet_keys)}): {found.sheet}", sep="\n")
    return found.figures


def _tstr(arguments: argparse.Namespace) -> dict[str, float]:
    spec = read_spec(arguments.spec, arguments.overrides)
    judges = _judges(arguments)
    figures = measure_synthetic_to_real(
        SyntheticToRealSettings(arguments.work, spec, arguments.build, arguments.records, judges)
    )
    print(*figure_lines(figures), sep="\n")
    return figures


def _adapters(arguments: argparse.Namespace) -> dict[str, float]:
    ways = read_ways(arguments.spec, arguments.overrides, arguments.way, arguments.bundles)
    found = compare_adapters(StudySettings(arguments.work, ways, arguments.records, judges=_judges(arguments)))
    print(*study_table(found), sep="\n")
    return study_figures(found)


def _judges(arguments: argparse.Namespace) -> JudgeSettings:
    return JudgeSettings(
        arguments.judge_records, arguments.unet_steps, arguments.dilated_steps, arguments.detector_steps
    )


def _survey(arguments: argparse.Namespace) -> dict[str, float]:
    mouths = survey_mouths(TEST_SEED, arguments.records)
    lights = survey_lights(TEST_SEED, 20 * arguments.records)
    print(figure_table(mouths), *figure_lines(lights), sep="\n")
    return {figure.name: figure.found for figure in mouths} | lights


if __name__ == "__main__":
    sys.exit(main())
