"""A run's checkpoint: everything that decides how it continues, in one file on any storage."""

from __future__ import annotations

import io
import logging
import pickle
from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch

from dentgen import storage
from dentgen.errors import SpecError
from dentgen.spec.train import TrainSpec

_LOG = logging.getLogger(__name__)
_FILE: Final = "checkpoint.pt"
#: Settings that a resumed run may change: paths, hardware, run length, logging.
_FREE: Final = (
    "bundle", "start", "align", "judges", "teacher", "checkpoints", "tensorboard", "stream", "cache_latents", "steps",
    "accumulate", "workers", "device", "threads", "channels_last", "checkpoint_seconds", "log_steps",
    "validate_steps", "validate_split", "validate_records",
)  # fmt: skip
_NEW_RUN: Final = "choose another 'checkpoints' folder to start a new run"


def save_checkpoint(spec: TrainSpec, step: int, parts: Mapping[str, Any], rows: list[dict[str, float]]) -> None:
    """Replace the checkpoint atomically.

    Args:
        spec: The run.
        step: Steps done.
        parts: Objects with ``state_dict``, by name.
        rows: Lines of the loss log so far.
    """
    content = io.BytesIO()
    states = {name: part.state_dict() for name, part in parts.items()}
    torch.save({"spec": _deciding(spec), "step": step, "log": rows, **states}, content)
    storage.overwrite(storage.join(spec.checkpoints, _FILE), content.getvalue())


def load_checkpoint(spec: TrainSpec, parts: Mapping[str, Any]) -> tuple[int, list[dict[str, float]]]:
    """Load the checkpoint into ``parts``.

    Returns:
        Steps done and the loss log so far; (0, []) if there is no checkpoint.

    Raises:
        SpecError: If the checkpoint is damaged or belongs to another run.
    """
    file = storage.join(spec.checkpoints, _FILE)
    content = storage.read_if_exists(file)
    if content is None:
        return 0, []
    try:
        state = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise SpecError(
            f"the checkpoint is damaged: {_first_line(error)}", file=file, advice=f"remove it, or {_NEW_RUN}"
        ) from error
    _check_spec(state.get("spec", {}), _deciding(spec), file)
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except (RuntimeError, KeyError, ValueError) as error:
        raise SpecError(
            f"the checkpoint does not fit this run: {_first_line(error)}", file=file, advice=_NEW_RUN
        ) from error
    _LOG.info("%s: resuming at step %d", file, state["step"])
    return int(state["step"]), list(state["log"])


def _deciding(spec: TrainSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", exclude={**dict.fromkeys(_FREE, True), "source": {"path": True}})


def _check_spec(found: Mapping[str, Any], expected: Mapping[str, Any], file: str) -> None:
    """Refuse a checkpoint of another spec: its weights would be exported under this spec's name.

    Raises:
        SpecError: If a deciding setting differs.
    """
    before, now = dict(_flatten(found)), dict(_flatten(expected))
    differing = [key for key in now if before.get(key, now[key]) != now[key]]
    if differing:
        key = differing[0]
        others = f" (also differs in {', '.join(differing[1:])})" if differing[1:] else ""
        raise SpecError(
            f"the checkpoint is another run's{others}",
            file=file,
            key=key,
            found=repr(before[key]),
            expected=repr(now[key]),
            advice=_NEW_RUN,
        )


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
