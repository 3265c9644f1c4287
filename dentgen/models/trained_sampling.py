"""How a few-step LoRA wants to be sampled: it says so in the header of its weights, and builds are compared with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dentgen.errors import BundleError, SpecError
from dentgen.models.lora import lora_file
from dentgen.models.lora_options import read_header
from dentgen.models.parts import LORAS, chosen_part
from dentgen.spec.sampling import SamplingSpec

#: Key in the header of LoRAs that are trained here; its text is JSON.
HEADER: Final = "dentgen_lora"
_KIND: Final = "few-step"


@dataclass(frozen=True, slots=True)
class TrainedSampling:
    """What a student was trained for.

    Attributes:
        scheduler: Name of the scheduler, as in ``sampling.scheduler``.
        timesteps: Timestep of each step, the noisiest first.
    """

    scheduler: str
    timesteps: tuple[int, ...]

    def header(self) -> dict[str, str]:
        """The texts in the header of the weights."""
        facts = {"kind": _KIND, "scheduler": self.scheduler, "timesteps": list(self.timesteps)}
        return {HEADER: json.dumps(facts)}


def read_trained_sampling(folder: Path) -> TrainedSampling | None:
    """What a LoRA's header says; None if it says nothing, as those of other trainers.

    Args:
        folder: Folder of the LoRA.

    Raises:
        BundleError: If the header cannot be read.
    """
    file = lora_file(folder)
    text = read_header(file).get(HEADER, "{}")
    facts = _parse(str(file), text)
    if facts.get("kind") != _KIND:
        return None
    scheduler, timesteps = facts.get("scheduler"), facts.get("timesteps")
    whole = isinstance(timesteps, list) and all(type(step) is int for step in timesteps)
    if not isinstance(scheduler, str) or not whole or not timesteps:
        raise BundleError(file=str(file), key=HEADER, found=text[:120], expected="a scheduler and its timesteps")
    return TrainedSampling(scheduler, tuple(timesteps))


def check_trained_sampling(
    loras: Mapping[str, float], folder: Path, sampling: SamplingSpec, timesteps: Sequence[float]
) -> None:
    """Compare a spec's sampling with what its LoRAs were trained for; a LoRA of scale 0 asks for nothing.

    Args:
        loras: Names and scales.
        folder: Folder of the bundle.
        sampling: The spec's sampling.
        timesteps: Timesteps that its scheduler visits; below strength 1 the last ones of a trained student's do.

    Raises:
        SpecError: If a student was trained for another scheduler or other steps.
        BundleError: If a LoRA is missing or its header cannot be read.
    """
    for name in sorted(name for name, scale in loras.items() if scale):
        trained = read_trained_sampling(chosen_part(folder, LORAS, name))
        if trained is not None:
            _check(name, trained, sampling, [round(step) for step in timesteps])


def _check(name: str, trained: TrainedSampling, sampling: SamplingSpec, timesteps: list[int]) -> None:
    if sampling.scheduler_name != trained.scheduler:
        raise _wrong("scheduler", sampling.scheduler_name, trained.scheduler, name)
    steps = len(trained.timesteps)
    if sampling.steps != steps:
        raise _wrong("steps", sampling.steps, str(steps), name)
    if timesteps != list(trained.timesteps[-len(timesteps) :]):
        raise _wrong("timesteps", timesteps, str(list(trained.timesteps)), name)


def _wrong(key: str, found: Any, expected: str, lora: str) -> SpecError:
    return SpecError(
        key=f"sampling.{key}", found=found, expected=f"{expected}, which model.loras.{lora} was trained for"
    )


def _parse(source: str, text: str) -> dict[str, Any]:
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(file=source, key=HEADER, found=text[:120], expected="JSON") from error
    if not isinstance(facts, dict):
        raise BundleError(file=source, key=HEADER, found=text[:120], expected="a JSON object")
    return facts
