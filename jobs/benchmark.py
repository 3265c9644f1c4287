"""Measure speed: ``ray job submit --working-dir . -- python jobs/benchmark.py engine --json /shared/engine.json``."""

from __future__ import annotations

import sys

from dentgen.cli.app import main

if __name__ == "__main__":
    sys.argv.insert(1, "benchmark")
    main()
