"""A training run's checkpoint: everything that decides how it goes on, in one file on any storage.

Refuses to know recipes and data.
"""

from __future__ import annotations

import io
import logging
import pickle
from collections.abc import Mapping
from typing import Any, Final

import torch

from dentgen import storage
from dentgen.errors import SpecError
from dentgen.spec.train import TrainSpec

_LOG = logging.getLogger(__name__)
_FILE: Final = "checkpoint.pt"
#: What may differ between a run and its continuation: places, machines, how long and how it is watched.
_FREE: Final = frozenset({
    "data", "bundle", "start", "align", "checkpoints", "tensorboard", "stream", "cache_latents", "steps", "accumulate",
    "workers", "device", "threads", "channels_last", "checkpoint_seconds", "log_steps", "validate_steps",
    "validate_split", "validate_records",
})  # fmt: skip


def save_checkpoint(spec: TrainSpec, step: int, parts: Mapping[str, Any], rows: list[dict[str, float]]) -> None:
    """Replace the newest checkpoint, all at once.

    Args:
        spec: The run.
        step: Steps done.
        parts: What has a state, by name.
        rows: Lines of the log so far.
    """
    content = io.BytesIO()
    states = {name: part.state_dict() for name, part in parts.items()}
    torch.save({"spec": _deciding(spec), "step": step, "log": rows, **states}, content)
    storage.overwrite(storage.join(spec.checkpoints, _FILE), content.getvalue())


def load_checkpoint(spec: TrainSpec, parts: Mapping[str, Any]) -> tuple[int, list[dict[str, float]]]:
    """Put the newest checkpoint into ``parts``; returns steps done and the log so far, (0, []) if there is none.

    Raises:
        SpecError: If the checkpoint is another run's.
    """
    place = storage.join(spec.checkpoints, _FILE)
    content = storage.read_if_exists(place)
    if content is None:
        return 0, []
    try:
        state = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise SpecError(f"checkpoints: found {place} damaged ({why}), expected a whole checkpoint, or none") from error
    _check_spec(state.get("spec", {}), _deciding(spec), place)
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except (RuntimeError, KeyError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise SpecError(
            f"checkpoints: found a checkpoint of another run in {place} ({why}), expected this run's"
        ) from error
    _LOG.info("%s: resuming at step %d", place, state["step"])
    return int(state["step"]), list(state["log"])


def _deciding(spec: TrainSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", exclude=set(_FREE))


def _check_spec(found: Mapping[str, Any], expected: Mapping[str, Any], place: str) -> None:
    """Refuse what another spec began: its weights would be exported under this one's name.

    Raises:
        SpecError: If the specs differ in what decides a run.
    """
    differing = [name for name in expected if found.get(name, expected[name]) != expected[name]]
    if differing:
        pairs = ", ".join(f"{name} {found.get(name)!r}, now {expected[name]!r}" for name in differing[:3])
        raise SpecError(
            f"checkpoints: found a checkpoint of another run in {place} ({pairs}), expected this run's; "
            "another folder begins anew"
        )
