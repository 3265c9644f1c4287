"""Training of a candidate's parts, each candidate and seed into a bundle of its own, which a later run finds again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dentgen import storage
from dentgen.conditions.readers.raw import ConditionShard
from dentgen.conditions.readers.source import list_shards
from dentgen.errors import SpecError
from dentgen.evaluation.tables.candidates import Training
from dentgen.models.bundle import find_bundle
from dentgen.models.file_digest import file_sha256
from dentgen.models.parts import ADAPTERS, CONTROLNETS
from dentgen.spec.build import BuildSpec
from dentgen.spec.train import TRAIN_SPEC, TrainSpec
from dentgen.spec.train_recipes import AdapterSpec, ControlSpec
from dentgen.storage.local_files import lock
from dentgen.training.run import run_training
from dentgen.training.worker import build_recipe, device_of

#: Parts that candidates train; a copied bundle holds only its own.
_TRAINED_KINDS: Final = (ADAPTERS, CONTROLNETS)
_DONE: Final = "trained.json"
_LOCK: Final = "lock"
_FOLDERS: Final = ("bundles", "trainings")


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """What all trainings of a table share.

    Attributes:
        source: Condition records with pictures.
        digest: Of their shards, from ``source_digest``.
        steps: Steps of every part.
        batch: Rows of a step.
    """

    source: str
    digest: str
    steps: int = 200
    batch: int = 8


@dataclass(frozen=True, slots=True)
class TrainedBundle:
    """The outcome of a training.

    Attributes:
        bundle: Folder of the bundle.
        parameters: Trained parameters of all parts.
        size: Bytes of their weights on disk.
        steps: Steps of all parts together.
    """

    bundle: str
    parameters: int
    size: int
    steps: int


def trained_bundle(
    work: str, spec: BuildSpec, training: Training, seed: int, settings: TrainingSettings
) -> TrainedBundle:
    """Train every part into a copy of the spec's bundle, or find what an earlier run has trained.

    A run that was interrupted continues from its checkpoint. What is done is recognised by the digest of its training
    specs, of all files that are copied of the bundle, and of the condition shards.

    Args:
        work: Folder of the tables, which has to be local.
        spec: Its bundle, size and blend are those of the training.
        training: What is trained.
        seed: Seed of all parts.
        settings: What all trainings share.

    Raises:
        SpecError: If ``work`` is a URL, or another process trains the same.
        DentgenError: If a part cannot be trained.
        KeyboardInterrupt: On Ctrl-C; the next run continues.
    """
    if storage.is_remote(work):
        raise SpecError(key="--work", found=storage.without_secrets(work), expected="a local folder to train in")
    name = f"{_plain(training.name)}-{seed}-{_digest(spec, training, seed, settings)[:12]}"
    bundle, log = (Path(work) / folder / name for folder in _FOLDERS)
    parts = [_train_spec(spec, part, seed, settings, bundle, log) for part in training.parts]
    done = log / _DONE
    if not done.exists():
        with _only_one(log):
            if not done.exists():  # another process may have ended meanwhile
                _train(spec, parts, bundle, done)
    parameters = json.loads(done.read_bytes())["parameters"]
    return TrainedBundle(str(bundle), parameters, sum(_bytes_of(part) for part in parts), settings.steps * len(parts))


def source_digest(source: str) -> str:
    """sha256 over the contents of condition shards, in order.

    Raises:
        DentgenError: If there is none, or one cannot be read.
    """
    files = [storage.sha256_of(url) for shard in list_shards(source, log=False) for url in _urls(shard)]
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


def _train(spec: BuildSpec, parts: Sequence[TrainSpec], bundle: Path, done: Path) -> None:
    _copy_untrained(find_bundle(spec.model.bundle), bundle)
    for part in parts:
        run_training(part)
    parameters = sum(_trained_parameters(part) for part in parts)
    storage.overwrite(str(done), json.dumps({"parameters": parameters}).encode() + b"\n")


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold a training folder against other processes; the lock ends with the process, however that ends.

    Raises:
        SpecError: If another one holds it.
        StorageError: If the file system has no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a") as file:
        try:
            lock(file, folder / _LOCK, wait=False)
        except BlockingIOError as error:
            raise SpecError(
                file=str(folder), key="--work", found="a training of another process", expected="one at a time",
                advice="wait for it, or take another folder",
            ) from error  # fmt: skip
        yield


def _train_spec(
    spec: BuildSpec, part: Mapping[str, Any], seed: int, settings: TrainingSettings, bundle: Path, log: Path
) -> TrainSpec:
    return TRAIN_SPEC.validate_python({
        "source": {"path": settings.source, "split": None},
        "conditions": {"size": spec.conditions.edge, "alpha": spec.conditions.alpha},
        "bundle": str(bundle),
        "checkpoints": str(log / part["name"]),
        "steps": settings.steps,
        "batch": settings.batch,
        "warmup": settings.steps // 10,
        "threads": 1,  # another number of threads would train other weights
        "seed": seed,
        "log_steps": 10,
        "checkpoint_seconds": 60,
        **part,
    })  # fmt: skip


def _digest(spec: BuildSpec, training: Training, seed: int, settings: TrainingSettings) -> str:
    nowhere = Path("nowhere")
    parts = [_train_spec(spec, part, seed, settings, nowhere, nowhere) for part in training.parts]
    deciding = [
        part.model_dump(mode="json", exclude={"bundle": True, "checkpoints": True, "source": {"path": True}})
        for part in parts
    ]
    bundle = find_bundle(spec.model.bundle)
    copied = [(file.relative_to(bundle).as_posix(), file_sha256(file)) for file in _untrained_files(bundle)]
    return hashlib.sha256(json.dumps([deciding, copied, settings.digest], sort_keys=True).encode()).hexdigest()


def _urls(shard: ConditionShard) -> list[str]:
    return sorted(file.url for file in shard.files) or [shard.url]


def _plain(name: str) -> str:
    """A name as part of a folder's."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", name).strip("-") or "candidate"


def _copy_untrained(bundle: Path, copy: Path) -> None:
    """Copy a bundle without the parts of the kinds that are trained; a copy, because a link would reach its files."""
    for file in _untrained_files(bundle):
        place = copy / file.relative_to(bundle)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)


def _untrained_files(bundle: Path) -> list[Path]:
    """Files of a bundle but those of the kinds that are trained, sorted; links are followed."""
    found = [Path(folder) / name for folder, _, names in os.walk(bundle, followlinks=True) for name in names]
    return sorted(file for file in found if file.relative_to(bundle).parts[0] not in _TRAINED_KINDS)


def _trained_parameters(part: TrainSpec) -> int:
    recipe = build_recipe(part, device_of(part))
    return sum(parameter.numel() for parameter in recipe.parameters() if parameter.requires_grad)


def _bytes_of(part: TrainSpec) -> int:
    assert isinstance(part, ControlSpec)
    folder = Path(part.bundle) / (ADAPTERS if isinstance(part, AdapterSpec) else CONTROLNETS) / part.part
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))
