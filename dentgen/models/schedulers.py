"""diffusers schedulers by the names that a spec uses, built from a bundle's own noise schedule."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from diffusers import DDIMScheduler, LCMScheduler, UniPCMultistepScheduler

SchedulerName = Literal["unipc", "lcm", "ddim"]


def make_scheduler(name: SchedulerName, folder: Path) -> Any:
    """Construct a scheduler from ``folder/scheduler``.

    Clipping is switched off (a bundle trained on latents never wants it) and the timestep spacing is pinned to
    trailing, because "leading" starts at a timestep that depends on the step count.
    """
    config = UniPCMultistepScheduler.load_config(folder / "scheduler")
    pinned = {"clip_sample": False, "thresholding": False, "timestep_spacing": "trailing"}
    match name:
        case "unipc":
            return UniPCMultistepScheduler.from_config(config, **pinned)
        case "lcm":
            return LCMScheduler.from_config(config, **pinned)
        case "ddim":
            return DDIMScheduler.from_config(config, **pinned)
