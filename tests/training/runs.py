"""Small training runs: specs of a few steps at 64 px, and what they leave behind."""

from __future__ import annotations

import csv
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml

from dentgen import storage
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.curation.pairs.tables import PAIR_SCHEMA, parquet_bytes
from dentgen.spec.train import TRAIN_SPEC
from dentgen.training.data.partners import open_partnered
from dentgen.training.data.records import open_records
from dentgen.training.data.rows import TrainingData
from dentgen.training.run import run_training
from tests.conftest import ROOT

CPU = torch.device("cpu")
_RANKED = {
    "control-base", "adapter", "control-lora", "lcm-lora", "phased-lora", "dmd-lora", "noise-consistency", "two-frame",
    "dreambooth",
}  # fmt: skip
#: Keys without default, and small values of others.
_NEEDED: dict[str, dict[str, Any]] = {
    "dreambooth": {
        "instance_prompt": "teeth, sks style", "class_prompt": "teeth", "class_pictures": 10, "class_steps": 2,
    },
    "textual-inversion": {"name": "look", "vectors": 2},
}  # fmt: skip


def train_spec(source: str, folder: Path, recipe: str, /, **values: Any) -> Any:
    """A run of a few steps at 64 px on all records of ``source``, with bundle and checkpoints in ``folder``."""
    conditions = {"size": 64} | values.pop("conditions", {})
    defaults = {
        "recipe": recipe, "source": {"path": source, "split": None}, "bundle": str(folder / "bundle"),
        "checkpoints": str(folder / recipe), "steps": 4, "batch": 2, "warmup": 1, "log_steps": 1,
        "validate_split": None, "conditions": conditions,
    }  # fmt: skip
    if recipe in _RANKED:
        defaults["rank"] = 4
    defaults |= _NEEDED.get(recipe, {})
    if recipe == "two-frame":
        folder.mkdir(exist_ok=True)
        defaults["pairs"] = str(write_pairs(folder / "pairs.parquet", source))
    return TRAIN_SPEC.validate_python(defaults | values)


def training_data(spec: Any) -> TrainingData:
    """Rows of all records, or of all references of pairs."""
    records = open_records(spec, None)
    return TrainingData(spec, open_partnered(spec, records) if spec.recipe == "two-frame" else records)


def write_pairs(file: Path, source: str) -> Path:
    """A table that pairs the first record of a source with the second, the third with the fourth and so on."""
    keys = [raw.key for shard in list_shards(source) for raw in read_records(shard)] if Path(source).exists() else []
    pairs = [each for one, other in zip(keys[::2], keys[1::2], strict=True) for each in ((one, other), (other, one))]
    blank = dict.fromkeys(PAIR_SCHEMA.names)
    rows = [{**blank, "reference": reference, "target": target} for reference, target in pairs]
    file.write_bytes(parquet_bytes(rows, PAIR_SCHEMA))
    return file


def losses_of(folder: Path | str) -> list[dict[str, str]]:
    """Lines of a run's loss log."""
    return list(csv.DictReader(io.StringIO(storage.read_bytes(f"{folder}/losses.csv").decode())))


def weights_of(folder: Path | str) -> dict[str, torch.Tensor]:
    """Trained weights in a run's checkpoint."""
    content = io.BytesIO(storage.read_bytes(f"{folder}/checkpoint.pt"))
    weights: dict[str, torch.Tensor] = torch.load(content, weights_only=True)["trained"]
    return weights


def linked_bundle(family: Path, folder: Path) -> Path:
    """``folder`` with the family's bundle as its own, for runs that add a part of their own name."""
    folder.mkdir(exist_ok=True)
    (folder / "bundle").symlink_to(family / "bundle")
    return folder


def copied_bundle(family: Path, folder: Path) -> Path:
    """``folder`` with a copy of the family's bundle, for runs that change it."""
    shutil.copytree(family / "bundle", folder / "bundle")
    return folder


def killed_and_whole(family: Path, source: str, folder: Path, recipe: str, **values: Any) -> tuple[Path, Path]:
    """Checkpoint folders of two equal runs of some steps, the first killed after three of them and resumed."""
    values = {"checkpoint_seconds": 0.0, "threads": 1, **values}
    specs = []
    for name in ("cut", "whole"):
        (folder / name).mkdir(parents=True)
        copied_bundle(family, folder / name)
        specs.append(train_spec(source, folder / name, recipe, **values))
    file = folder / "spec.yaml"
    file.write_text(yaml.safe_dump(TRAIN_SPEC.dump_python(specs[0], mode="json")))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-m", "dentgen", "train", str(file)], env=environment)
    wait_for_lines(folder / "cut" / recipe / "losses.csv", 3, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for spec in specs:
        run_training(spec)
    return folder / "cut" / recipe, folder / "whole" / recipe


def wait_for_lines(file: Path, lines: int, process: subprocess.Popen[bytes], seconds: float = 240) -> None:
    """Wait until a run in another process has logged some lines; end it if it never does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before it could be killed"
        if file.exists() and len(file.read_text().splitlines()) > lines:
            return
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"{file} did not have {lines} lines after {seconds} s")
