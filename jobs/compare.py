"""Compare ways to generate: ``ray job submit --working-dir . -- python jobs/compare.py T1 --json /shared/T1.json``."""

from __future__ import annotations

import sys

from dentgen.cli.app import main

if __name__ == "__main__":
    sys.argv.insert(1, "compare")
    main()
