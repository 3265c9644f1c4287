"""Evaluate a model: ``ray job submit --working-dir . -- python jobs/evaluate.py fidelity --json /shared/f.json``."""

from __future__ import annotations

import sys

from dentgen.cli.app import main

if __name__ == "__main__":
    sys.argv.insert(1, "evaluate")
    main()
