"""Measure a model: ``python jobs/evaluate.py fidelity|phantoms [--json FILE] [--set A.B=VALUE] [--work FOLDER]``.

``fidelity`` renders phantoms that were never trained on, trains judges on their reference pictures, generates, and
prints figures. A work folder belongs to one bundle: choose another for another model. ``phantoms`` surveys procedural
mouths and prints them beside published dental statistics.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dentgen.errors import DentgenError
from dentgen.pipeline.fidelity import TEST_SEED, FidelitySettings, figure_lines, measure_fidelity, write_figures
from dentgen.quality.survey import figure_table, survey_lights, survey_mouths
from dentgen.spec_file import read_spec


def main() -> int:
    """Parse, measure, print, return an exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["fidelity", "phantoms"])
    parser.add_argument("--spec", type=Path, default=Path("jobs/specs/demo.yaml"))
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", dest="overrides")
    parser.add_argument("--work", default="work/evaluate")
    parser.add_argument("--records", type=int, default=64, help="phantoms to generate from, or mouths to survey")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.what == "phantoms":
        return _survey(arguments)
    try:
        spec = read_spec(arguments.spec, arguments.overrides)
        figures = measure_fidelity(FidelitySettings(arguments.work, spec, test_records=arguments.records))
    except DentgenError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(figure_lines(figures)))
    if arguments.json:
        write_figures(figures, arguments.json)
    return 0


def _survey(arguments: argparse.Namespace) -> int:
    mouths = survey_mouths(TEST_SEED, arguments.records)
    lights = survey_lights(TEST_SEED, 20 * arguments.records)
    print(figure_table(mouths), *figure_lines(lights), sep="\n")
    if arguments.json:
        write_figures({figure.name: figure.found for figure in mouths} | lights, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
