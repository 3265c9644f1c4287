"""Compare ways to generate: ``python jobs/compare.py T1 [--json FILE] [--html FILE] [--before BUNDLE]``.

``T1``: solvers and their steps against decoders. ``--before`` names a bundle whose tiny decoder was not distilled.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from dentgen.errors import DentgenError, exit_code
from dentgen.evaluation.solvers import study_solvers, table_lines
from dentgen.evaluation.solvers_page import write_study_page
from dentgen.spec.yaml_file import read_spec


def main() -> int:
    """Parse, measure, print, return an exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["T1"])
    parser.add_argument("--spec", type=Path, default=Path("jobs/specs/demo.yaml"))
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", dest="overrides")
    parser.add_argument("--work", default="work/evaluate")
    parser.add_argument("--records", type=int, default=64)
    parser.add_argument("--before", help="bundle with a tiny decoder that was not distilled")
    parser.add_argument("--json", type=Path, default=Path("work/evaluate/T1.json"))
    parser.add_argument("--html", type=Path, default=Path("work/evaluate/T1.html"))
    arguments = parser.parse_args()
    try:
        spec = read_spec(arguments.spec, arguments.overrides)
        study = study_solvers(spec, arguments.work, records=arguments.records, before=arguments.before)
    except DentgenError as error:
        print(f"error: {error}", file=sys.stderr)
        return exit_code(error)
    print("\n".join(table_lines(study)))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(study.figures(), indent=1) + "\n")
    write_study_page(study, f"T1: solvers and decoders of {spec.model.bundle}", arguments.html)
    return 0


if __name__ == "__main__":
    sys.exit(main())
