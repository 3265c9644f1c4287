"""Train a part of a bundle: ``python jobs/train.py jobs/specs/train-autoencoder.yaml``.

Started again, it goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from dentgen.errors import DentgenError, exit_code
from dentgen.spec.train import read_train_spec
from dentgen.training.run import run_training


def main() -> int:
    """Parse, train, return an exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--export-only", action="store_true", help="export the newest checkpoint and stop")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        spec = read_train_spec(arguments.spec, tuple(arguments.overrides))
        run_training(spec, export_only=arguments.export_only)
    except DentgenError as error:
        print(f"error: {error}", file=sys.stderr)
        return exit_code(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
