"""Commands say what they do before libraries take seconds to import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

#: Runs commands where everything that takes seconds to import ends the process instead.
GUARDED = """
import sys
from dentgen.cli.app import main

class Guard:
    def find_spec(self, name, path=None, target=None):
        if name in {"torch", "ray", "numpy", "scipy", "transformers", "diffusers", "pyarrow"}:
            raise KeyboardInterrupt

assert not {"torch", "ray", "numpy", "scipy", "pyarrow"} & set(sys.modules), "before any command"
sys.meta_path.insert(0, Guard())
for command in sys.argv[1:]:
    sys.argv = ["dentgen", *command.split()]
    print("#", command, file=sys.stderr)
    try:
        main()
    except SystemExit:
        pass
"""
LONG = (
    "phantom p", "relight s r", "sheet s o.png", "generate demo", "plan demo", "verify o", "repair o", "report o",
    "gc o", "train t.yaml", "models import f o", "models inspect miniature", "models verify miniature",
    "evaluate fidelity", "evaluate tstr", "evaluate conditioning", "evaluate phantoms", "compare T1",
    "benchmark engine", "benchmark build", "benchmark packing", "benchmark overhead", "benchmark conditions",
    "benchmark random-bundle r",
)  # fmt: skip


@pytest.mark.integration
def test_long_commands_say_what_they_do_before_they_import(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", GUARDED, *LONG, "--version", "--help"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = {part.splitlines()[0].strip(): part.splitlines()[1:] for part in run.stderr.split("#")[1:]}
    assert [command for command in LONG if not said[command][0].startswith(command.split()[0])] == []
    assert said["--version"] == said["--help"] == []
