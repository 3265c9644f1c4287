"""Build or grow a dataset: ``ray job submit --working-dir . -- python jobs/generate.py SPEC [--tick KEY]``."""

from __future__ import annotations

import sys

from dentgen.cli.app import main

if __name__ == "__main__":
    sys.argv.insert(1, "generate")
    main()
