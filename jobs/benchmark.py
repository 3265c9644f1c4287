"""Measure speed: ``python jobs/benchmark.py build [--json FILE] [--rounds N] [--set A.B=VALUE]``.

Ratios of contestants that run side by side, several rounds, medians and spread: absolute speeds mean little elsewhere.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from dentgen.errors import DentgenError
from dentgen.pipeline.build_benchmark import benchmark_build
from dentgen.spec import read_spec


def main() -> int:
    """Parse, measure, print, return an exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["build"])
    parser.add_argument("--spec", type=Path, default=Path("jobs/specs/demo.yaml"))
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", dest="overrides")
    parser.add_argument("--work", default="work/benchmark")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    try:
        spec = read_spec(arguments.spec, arguments.overrides)
        figures = benchmark_build(spec, arguments.work, arguments.rounds, lambda line: print(line, flush=True))
    except DentgenError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(figures, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
