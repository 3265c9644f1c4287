"""The kit for a GPU machine carries everything that such a machine lacks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

#: Distributions of a machine that is set up for torch and transformers.
PRESENT = frozenset(
    [
        "accelerate",
        "annotated-doc",
        "anyio",
        "certifi",
        "charset-normalizer",
        "click",
        "colorama",
        "filelock",
        "fsspec",
        "h11",
        "hf-xet",
        "httpcore",
        "httpx",
        "huggingface-hub",
        "idna",
        "jaxtyping",
        "jinja2",
        "markdown-it-py",
        "markupsafe",
        "mdurl",
        "mpmath",
        "networkx",
        "numpy",
        "packaging",
        "peft",
        "pillow",
        "psutil",
        "pygments",
        "pyyaml",
        "regex",
        "requests",
        "rich",
        "safetensors",
        "scikit-learn",
        "scipy",
        "setuptools",
        "shellingham",
        "sympy",
        "tokenizers",
        "torch",
        "tqdm",
        "transformers",
        "triton",
        "typer",
        "typing-extensions",
        "urllib3",
        "wadler-lindig",
        "joblib",
        "threadpoolctl",
        "six",
        "importlib-metadata",
        "zipp",
        "httpcore2",
        "httpx2",
        "truststore",
    ]
)
#: Runs dentgen with all other distributions out of reach.
PROGRAM = """
import importlib.metadata, sys
allowed = set({allowed!r})
def normal(name): return name.lower().replace("_", "-")
owners = importlib.metadata.packages_distributions()
class Absent:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top != "dentgen" and top in owners and not any(normal(owner) in allowed for owner in owners[top]):
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Absent())
sys.argv = {command!r}
from dentgen.cli.app import main
main()
"""
SPEC = ("--set", "bundle={work}/bundle", "--set", "checkpoints={work}/train", "--set", "source.path={work}/phantoms",
        "--set", "conditions.size=64", "--set", "steps=1", "--set", "batch=2", "--set", "crop=null",
        "--set", "perceptual=0", "--set", "source.split=null")  # fmt: skip


@pytest.mark.slow
def test_the_kit_is_complete(tmp_path: Path) -> None:
    words = re.search(r"^GPU_WHEELS \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert words is not None
    carried = {name.lower().replace("_", "-") for name in words[1].split()}
    commands = (
        ("phantom", "{work}/phantoms", "--count", "5", "--size", "64", "--mix", "varied"),
        ("train", "jobs/miniature/autoencoder.yaml", *SPEC),
        ("benchmark", "engine", "--slots", "1", "--times", "1", "--rounds", "1", "--set", "sampling.steps=2",
         "--set", "conditions.size=64"),
        ("models", "verify", "miniature"),
    )  # fmt: skip
    for command in commands:
        program = PROGRAM.format(
            allowed=sorted(PRESENT | carried), command=["dentgen", *(word.format(work=tmp_path) for word in command)]
        )
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
        assert run.returncode == 0, f"{command[0]}: {run.stdout[-800:]}\n{run.stderr[-2000:]}"
