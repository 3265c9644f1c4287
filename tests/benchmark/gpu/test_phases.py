"""Phases fit into their minutes, and the kit carries everything that a GPU machine lacks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dentgen.benchmark.gpu.phases import GPU, MINIATURE_SPECS, divided, engine_phases
from dentgen.spec.train import read_train_spec
from tests.conftest import ROOT

SPECS = ROOT / "jobs" / "miniature"
#: Distributions of a machine that is set up for torch and transformers.
PRESENT = frozenset((  # noqa: SIM905
    "accelerate annotated-doc anyio certifi charset-normalizer click colorama filelock fsspec h11 hf-xet httpcore "
    "httpcore2 httpx httpx2 huggingface-hub idna importlib-metadata jaxtyping jinja2 joblib markdown-it-py pyarrow "
    "markupsafe mdurl mpmath networkx numpy packaging peft pillow psutil pygments pyyaml regex requests rich "
    "safetensors scikit-learn scipy setuptools shellingham six sympy threadpoolctl tokenizers torch tqdm "
    "transformers triton truststore typer typing-extensions urllib3 wadler-lindig zipp"
).split())  # fmt: skip
#: Runs dentgen with all other distributions out of reach.
PROGRAM = """
import importlib.metadata, sys
from importlib.machinery import PathFinder
allowed = set({allowed!r})
def normal(name): return name.lower().replace("_", "-")
owners = importlib.metadata.packages_distributions()
class Present(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        top = name.partition(".")[0]
        absent = top != "dentgen" and top in owners and not any(normal(owner) in allowed for owner in owners[top])
        return None if absent else PathFinder.find_spec(name, path, target)
sys.meta_path[:] = [Present if finder is PathFinder else finder for finder in sys.meta_path]
sys.argv = {command!r}
from dentgen.cli.app import main
main()
"""
SPEC = ("--set", "bundle={work}/bundle", "--set", "checkpoints={work}/train", "--set", "source.path={work}/phantoms",
        "--set", "conditions.size=64", "--set", "steps=1", "--set", "batch=2", "--set", "crop=null",
        "--set", "source.split=null")  # fmt: skip


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


def test_time_is_divided_completely() -> None:
    assert sum(divided(300).values()) == pytest.approx(300)


def test_the_specs_are_those_of_the_repository() -> None:
    recipes = [read_train_spec(SPECS / f"{name}.yaml").recipe for name in MINIATURE_SPECS]
    assert recipes == ["autoencoder", "base", "adapter", "lcm-lora", "decoder", "adapter", "adapter", "adapter"]
    assert sum(phase.seconds for phase in engine_phases(GPU)) <= 240
