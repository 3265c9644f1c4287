"""Construction of diffusers schedulers, from a spec's name for one or from a diffusers configuration."""

from __future__ import annotations

import inspect
import math
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

from dentgen.errors import BundleError, SpecError
from dentgen.models.bundle_files import SCHEDULER_CONFIG, faults_of_folder, read_json
from dentgen.spec.sampling import SchedulerName

_PINNED: Final = {"clip_sample": False, "thresholding": False, "timestep_spacing": "trailing"}
_MAY_BE_INFINITE: Final = "lambda_min_clipped"
#: Published schedules have 1000.
_MAX_TIMESTEPS: Final = 100_000
_NOISE_SCHEDULE: Final[tuple[str, ...]] = (
    "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type"
)  # fmt: skip


def make_scheduler(scheduler: SchedulerName | Mapping[str, Any], folder: Path, options: Mapping[str, Any] = {}) -> Any:
    """Construct a scheduler on the noise schedule of ``folder/scheduler``.

    A scheduler given by name never clips, as latents are unbounded, and uses trailing timestep spacing, because the
    first timestep of leading spacing depends on the step count. A configuration is used as given.

    Args:
        scheduler: A name, or the content of a diffusers ``scheduler_config.json``; settings of the noise schedule that
            it lacks are taken from the bundle.
        folder: Folder of the bundle.
        options: Settings that override all others, for example ``solver_order``.

    Raises:
        SpecError: If the configuration names no scheduler, or a setting is unknown or rejected by the class.
        BundleError: If the bundle has no noise schedule that can be used.
    """
    bundled = bundled_schedule(folder)
    if isinstance(scheduler, str):
        kind, settings = _named(scheduler)
        return _construct(kind, {**bundled, **_PINNED, **settings}, options)
    kind = _configured(scheduler)
    _check_keys(kind, scheduler)
    completed = {key: bundled[key] for key in _NOISE_SCHEDULE if key in bundled and key in _known_options(kind)}
    return _construct(kind, {**completed, **scheduler}, options)


def bundled_schedule(folder: Path) -> dict[str, Any]:
    """The configuration in ``folder/scheduler``, with a noise schedule that can be used.

    Raises:
        BundleError: If there is none.
    """
    place = folder / "scheduler"
    with faults_of_folder(place):
        config = read_json(place / SCHEDULER_CONFIG)
    texts = [
        (key, repr(value), "a number without quotes") for key, value in config.items() if _is_number_in_quotes(value)
    ]
    if (fault := next(iter(texts), _schedule_fault(config))) is not None:
        raise BundleError(file=str(place), key=fault[0], found=fault[1], expected=fault[2])
    try:
        UniPCMultistepScheduler.from_config({**config, **_PINNED})
    except Exception as error:  # a wrong value fails anywhere in the class
        raise BundleError(f"not a scheduler's config: {error!r}", file=str(place)) from error
    return config


def _schedule_fault(config: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Key, what was found and what was expected of the first number that no noise schedule has."""
    for key, value in config.items():
        numbers = value if isinstance(value, (list, tuple)) else [value]
        if len(numbers) > _MAX_TIMESTEPS:
            return key, f"{len(numbers)} values", f"at most {_MAX_TIMESTEPS}"
        for number in numbers:
            if isinstance(number, float) and not math.isfinite(number) and key != _MAY_BE_INFINITE:
                return key, str(number), "a finite number"
            if isinstance(number, int) and abs(number) > _MAX_TIMESTEPS:
                return key, str(number)[:80], f"at most {_MAX_TIMESTEPS}"
    steps, betas = config.get("num_train_timesteps", 1000), config.get("trained_betas")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        return "num_train_timesteps", repr(steps)[:80], "a positive whole number"
    if betas is not None and (not isinstance(betas, (list, tuple)) or len(betas) != steps):
        return "trained_betas", repr(betas)[:80], f"{steps} numbers, one for every timestep"
    ends = {key: config[key] for key in ("beta_start", "beta_end") if key in config and betas is None}
    for key, beta in [*ends.items(), *(("trained_betas", beta) for beta in betas or ())]:
        if isinstance(beta, bool) or not isinstance(beta, (int, float)) or not 0 <= beta < 1:
            return key, repr(beta)[:80], "a number from 0 to below 1"
    return None


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
            return PNDMScheduler, {"skip_prk_steps": True}  # as in Stable Diffusion 1.5; PRK needs 4 steps or more
        case "heun":
            return HeunDiscreteScheduler, {}


def _configured(config: Mapping[str, Any]) -> Any:
    """The class that a configuration names."""
    name = config.get("_class_name")
    kind = getattr(diffusers, name, None) if isinstance(name, str) else None
    if not (isinstance(kind, type) and issubclass(kind, SchedulerMixin) and issubclass(kind, ConfigMixin)):
        key, expected = "sampling.scheduler._class_name", "the name of a diffusers scheduler"
        raise SpecError(key=key, found=repr(name), expected=expected)
    return kind


def _construct(kind: Any, config: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    known = _known_options(kind)
    unknown = [option for option in options if option not in known]
    if unknown:
        expected = f"options of {kind.__name__}: {', '.join(known)}"
        raise SpecError(key="sampling.scheduler_options", found=", ".join(unknown), expected=expected)
    texts = [key for key, value in {**config, **options}.items() if _is_number_in_quotes(value)]
    if texts:
        key, expected = "sampling.scheduler", "numbers without quotes"
        raise SpecError(key=key, found=f"text for {', '.join(texts)}", expected=expected)
    if (fault := _schedule_fault({**config, **options})) is not None:
        raise SpecError(key=f"sampling.scheduler.{fault[0]}", found=fault[1], expected=fault[2])
    try:
        return kind.from_config({**config, **options})
    except (ValueError, TypeError, NotImplementedError, ImportError) as error:
        raise SpecError(f"{kind.__name__} rejects its settings: {error}", key="sampling.scheduler") from error


def _check_keys(kind: Any, config: Mapping[str, Any]) -> None:
    """Reject keys that no scheduler knows; diffusers' configuration files carry settings of other schedulers along."""
    kinds = [kind, LCMScheduler, *(getattr(diffusers, member.name) for member in KarrasDiffusionSchedulers)]
    known = {option for each in kinds for option in _known_options(each)}
    unknown = [key for key in config if not key.startswith("_") and key not in known]
    if unknown:
        expected = f"settings of {kind.__name__}: {', '.join(_known_options(kind))}"
        raise SpecError(key="sampling.scheduler", found=", ".join(unknown), expected=expected)


def _is_number_in_quotes(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True


def _known_options(kind: Any) -> list[str]:
    return [name for name in inspect.signature(kind.__init__).parameters if name != "self"]
