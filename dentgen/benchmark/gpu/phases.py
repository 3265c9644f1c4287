"""The phases of a few minutes on a GPU, the most valuable first, and the same at toy size for a rehearsal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Training specs of the miniature, in the order in which its parts depend on each other.
MINIATURE_SPECS: Final = (
    "autoencoder", "base", "blended", "lcm-lora", "decoder", "findings", "segmentation", "lighting",
)  # fmt: skip
#: How the time left for training is divided.
_SHARES: Final = (0.34, 0.32, 0.1, 0.05, 0.08, 0.05, 0.03, 0.03)
#: Records that the miniature is trained on, and that a rehearsal renders.
_RECORDS, _FEW = 1500, 20


@dataclass(frozen=True, slots=True)
class Phase:
    """One command with a time limit.

    Attributes:
        name: Its name; its figures are in NAME.json.
        arguments: Arguments of ``dentgen``.
        seconds: Time limit.
        figures: Whether the command writes ``--json`` figures.
    """

    name: str
    arguments: tuple[str, ...]
    seconds: float
    figures: bool = True


@dataclass(frozen=True, slots=True)
class Scale:
    """Size of a run.

    Attributes:
        device: Where networks compute.
        model: Model of the engine's phases.
        size: Edge of the miniature's images, pixels.
        records: Phantoms to render.
        slots: Values of ``engine.slots``; the first is used where only one is measured.
        variants, decoders: Their values; the first likewise.
        settings: Further settings of the engine's phases.
        steps: Timed training steps of every recipe and precision.
        dtypes: Precisions of training; the first is the miniature's.
        training: Further settings of all trainings.
        patience: Factor of all time limits.
        most_steps: Largest number of steps of the miniature's trainings.
    """

    device: str
    model: str
    size: int
    records: int
    slots: tuple[int, ...]
    variants: tuple[int, ...]
    decoders: tuple[str, ...]
    settings: tuple[str, ...]
    steps: int
    dtypes: tuple[str, ...]
    training: tuple[str, ...] = ()
    patience: float = 1.0
    most_steps: int = 100_000


GPU: Final = Scale("cuda", "sd15", 256, _RECORDS, (16, 32, 48), (4, 1), ("kl", "tiny"), (), 12, ("bfloat16", "float16"))
REHEARSAL: Final = Scale(
    "cpu", "miniature", 128, _FEW, (1, 2), (1,), ("kl",),
    ("sampling.steps=2", "conditions.size=64", "engine.threads=1"), 1, ("bfloat16",),
    training=("batch=2",), patience=10, most_steps=2,
)  # fmt: skip


def rendering(scale: Scale, folder: Path) -> Phase:
    """The phantoms that are trained on; rendered by the processor while the GPU is measured."""
    size, count = str(scale.size), str(scale.records)
    options = ("--count", count, "--size", size, "--seed", "31", "--mix", "varied", "--shard-size", "10")
    return Phase("phantoms", ("phantom", str(folder / "phantoms"), *options), scale.patience * 240, figures=False)


def engine_phases(scale: Scale) -> list[Phase]:
    """Throughput, latency, share of the matrix peak, peak memory, and whether bits depend on neighbours."""
    first, rest = str(scale.slots[0]), _listed(scale.slots[1:])
    variants, decoders = _listed(scale.variants), _listed(scale.decoders)
    one = ("--slots", first, "--variants", str(scale.variants[0]), "--decoder", scale.decoders[0])
    sweep = ("--slots", rest, "--variants", variants, "--decoder", decoders)
    on_gpu = scale.device == "cuda"
    return [
        _engine(scale, "engine-eager", 45, "--slots", first, "--variants", variants, "--decoder", scale.decoders[0]),
        _engine(scale, "engine-graph", 35, *one, *(["--cuda-graph"] * on_gpu)),
        _engine(scale, "engine-sweep", 60, *sweep),
        _engine(scale, "engine-compiled", 80, *one, *(["--compile"] * on_gpu)),
    ]


def _set(settings: Sequence[str]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def _listed(values: Sequence[object]) -> str:
    return ",".join(map(str, values))


def _engine(scale: Scale, name: str, seconds: float, *options: str) -> Phase:
    common = ("--model", scale.model, "--device", scale.device, "--times", "1", "--rounds", "1")
    return Phase(name, ("benchmark", "engine", *common, *options, *_set(scale.settings)), scale.patience * seconds)


def precision_phase(scale: Scale, specs: Path, folder: Path) -> Phase:
    """Seconds per step of every training spec under every precision."""
    options = ("--specs", str(specs), "--source", str(folder / "phantoms"), "--size", str(scale.size))
    steps = ("--device", scale.device, "--steps", str(scale.steps), "--dtypes", ",".join(scale.dtypes))
    work = ("--work", str(folder / "precision"), *_set(scale.training))
    return Phase("training-steps", ("benchmark", "training", *options, *steps, *work), scale.patience * 90)


def training_phase(scale: Scale, spec: Path, folder: Path, *, steps: int, seconds: float) -> Phase:
    """One part of the miniature, trained for as many steps as fit into its time."""
    settings = {
        "source.path": folder / "phantoms", "bundle": folder / "miniature", "checkpoints": folder / "train" / spec.stem,
        "conditions.size": scale.size, "steps": steps, "warmup": min(100, max(1, steps // 10)),
        "dtype": scale.dtypes[0], "device": scale.device, "validate_steps": "null",
        "log_steps": max(1, min(50, steps // 4)), "checkpoint_seconds": 30,
    }  # fmt: skip
    overrides = _set([*(f"{key}={value}" for key, value in settings.items()), *scale.training])
    return Phase(f"train-{spec.stem}", ("train", str(spec), *overrides), scale.patience * seconds, figures=False)


def divided(seconds: float) -> dict[str, float]:
    """Seconds for the training of every part, of all that are left."""
    return {name: seconds * share for name, share in zip(MINIATURE_SPECS, _SHARES, strict=True)}
