"""diffusers schedulers: by the names that a spec uses, or from a configuration of diffusers' own.

Refuses to know what a scheduler is used for, and whether it can be: that is the solver's to find out.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import diffusers
from diffusers import (
    ConfigMixin,
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)
from diffusers.schedulers import KarrasDiffusionSchedulers

from dentgen.errors import SpecError
from dentgen.spec.build import SchedulerName

_PINNED: Final = {"clip_sample": False, "thresholding": False, "timestep_spacing": "trailing"}
_NOISE_SCHEDULE: Final[tuple[str, ...]] = (
    "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type"
)  # fmt: skip


def make_scheduler(scheduler: SchedulerName | Mapping[str, Any], folder: Path, options: Mapping[str, Any] = {}) -> Any:
    """Construct a scheduler on the noise schedule of ``folder/scheduler``.

    A named one never clips (a bundle trained on latents does not want it) and its timestep spacing is trailing, because
    "leading" starts at a timestep that depends on the step count. A configuration is used as it is given.

    Args:
        scheduler: A name, or what a diffusers ``scheduler_config.json`` holds; the bundle completes its noise schedule.
        folder: Of the bundle.
        options: Settings of the scheduler's class that overrule all others, as ``solver_order``.

    Raises:
        SpecError: If the configuration names no scheduler, or a setting is unknown or refused.
    """
    bundled: dict[str, Any] = UniPCMultistepScheduler.load_config(folder / "scheduler")
    if isinstance(scheduler, str):
        kind, settings = _named(scheduler)
        return _construct(kind, {**bundled, **_PINNED, **settings}, options)
    kind = _configured(scheduler)
    _check_keys(kind, scheduler)
    completed = {key: bundled[key] for key in _NOISE_SCHEDULE if key in bundled and key in _known_options(kind)}
    return _construct(kind, {**completed, **scheduler}, options)


def _named(name: SchedulerName) -> tuple[Any, dict[str, Any]]:
    match name:
        case "unipc":
            return UniPCMultistepScheduler, {}
        case "lcm":
            return LCMScheduler, {}
        case "ddim":
            return DDIMScheduler, {}
        case "ddpm":
            return DDPMScheduler, {}
        case "dpmpp_2m" | "dpmpp_2m_karras":
            karras = name == "dpmpp_2m_karras"
            settings = {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": karras}
            return DPMSolverMultistepScheduler, settings
        case "euler":
            return EulerDiscreteScheduler, {}
        case "euler_ancestral":
            return EulerAncestralDiscreteScheduler, {}
        case "pndm":
            return PNDMScheduler, {"skip_prk_steps": True}  # as Stable Diffusion's own; with them 4 steps are the least
        case "heun":
            return HeunDiscreteScheduler, {}


def _configured(config: Mapping[str, Any]) -> Any:
    """The class that a configuration names."""
    name = config.get("_class_name")
    kind = getattr(diffusers, name, None) if isinstance(name, str) else None
    if not (isinstance(kind, type) and issubclass(kind, SchedulerMixin) and issubclass(kind, ConfigMixin)):
        raise SpecError(f"scheduler: found _class_name {name!r}, expected the name of a diffusers scheduler")
    return kind


def _construct(kind: Any, config: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    known = _known_options(kind)
    unknown = [option for option in options if option not in known]
    if unknown:
        raise SpecError(f"scheduler: {kind.__name__} has no option {', '.join(unknown)}, expected {', '.join(known)}")
    texts = [key for key, value in {**config, **options}.items() if isinstance(value, str) and _is_number(value)]
    if texts:
        raise SpecError(f"scheduler: found text for {', '.join(texts)}, expected a number; YAML wants 1.0e-4, not 1e-4")
    try:
        return kind.from_config({**config, **options})
    except (ValueError, TypeError, NotImplementedError, ImportError) as error:
        raise SpecError(f"scheduler: {kind.__name__} refuses its settings: {error}") from error


def _check_keys(kind: Any, config: Mapping[str, Any]) -> None:
    """Configurations carry what other schedulers were set to, but a key that none knows is a mistake."""
    kinds = [kind, LCMScheduler, *(getattr(diffusers, member.name) for member in KarrasDiffusionSchedulers)]
    known = {option for each in kinds for option in _known_options(each)}
    unknown = [key for key in config if not key.startswith("_") and key not in known]
    if unknown:
        expected = ", ".join(_known_options(kind))
        raise SpecError(f"scheduler: found {', '.join(unknown)}, expected settings of {kind.__name__}: {expected}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _known_options(kind: Any) -> list[str]:
    return [name for name in inspect.signature(kind.__init__).parameters if name != "self"]
