"""Train a component of a bundle: ``ray job submit --working-dir . -- python jobs/train.py SPEC [--set A.B=VALUE]``."""

from __future__ import annotations

import sys

from dentgen.cli.app import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    main()
