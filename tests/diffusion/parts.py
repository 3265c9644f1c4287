"""Engines, canvases and networks of the real miniature, shared by the tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel, UNet2DConditionModel

from dentgen.diffusion.canvas import Canvas, ControlInput, Sampled
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.networks import Branches, EngineShape
from dentgen.diffusion.solver import SolverTable, probe_solver
from dentgen.models.bundle import Bundle
from dentgen.models.control import FullControl, split_hint
from dentgen.models.networks import ControlBranch, ControlNetBranch, UNetDenoiser
from dentgen.models.schedulers import make_scheduler
from dentgen.models.text import PromptEncoder
from dentgen.seeding import NoiseKey
from dentgen.spec.sampling import SchedulerName

LATENT = (4, 8, 8)
PIXELS = 8 * LATENT[1]
PROMPTS = ("a photo of both teeth, front view", "yellow teeth, red gums", "")
BLENDED = "blended"


def table_of(bundle: Bundle, name: SchedulerName, steps: int, **options: Any) -> SolverTable:
    return table_of_folder(bundle.folder, name, steps, **options)


def table_of_folder(folder: Path, name: SchedulerName, steps: int, **options: Any) -> SolverTable:
    return probe_solver(make_scheduler(name, folder), steps, **options)


def branches_of(bundle: Bundle) -> Branches:
    return Branches(shared={BLENDED: ControlBranch(bundle.shared[BLENDED])})


def build_engine(
    bundle: Bundle,
    *,
    slots: int = 6,
    control_slots: int = 4,
    columns: int = 24,
    branches: Branches | None = None,
    unet: UNet2DConditionModel | None = None,
    weighted: bool = False,
    regions: int = 0,
    **options: bool,
) -> DiffusionEngine:
    tokens, width = PromptEncoder(bundle.tokenizer, bundle.text_encoder).shape
    unet = bundle.unet if unet is None else unet
    further = unet.config["in_channels"] - 4
    shape = EngineShape(
        slots,
        control_slots,
        LATENT[1:],
        tokens,
        width,
        columns,
        mask_channels=further,
        weighted=weighted,
        regions=regions,
    )
    branches = branches_of(bundle) if branches is None else branches
    return DiffusionEngine(UNetDenoiser(unet), branches, shape, torch.device("cpu"), torch.float32, **options)


def random_latents(number: int) -> torch.Tensor:
    return torch.randn(LATENT, generator=torch.Generator().manual_seed(100 + number))


def condition(number: int) -> KeyedTensor:
    return KeyedTensor(f"condition {number}", random_latents(number))


def controlled(number: int, scale: float = 1.0, **window: Any) -> tuple[ControlInput, ...]:
    return (ControlInput(BLENDED, condition(number), scale, **window),)


def prompt(bundle: Bundle, text: str) -> KeyedTensor:
    return KeyedTensor(text, PromptEncoder(bundle.tokenizer, bundle.text_encoder).embed(text))


def simple(bundle: Bundle, number: int, control: int | None, table: SolverTable, **more: Any) -> Canvas:
    controls = () if control is None else controlled(control)
    values: dict[str, Any] = {
        "key": f"c{number}", "noise": NoiseKey(1, f"r{number}", 0), "table": table,
        "prompt": prompt(bundle, PROMPTS[0]), "controls": controls,
    }  # fmt: skip
    return Canvas(**{**values, **more})


def latents(sampled: Sampled) -> torch.Tensor:
    assert isinstance(sampled, torch.Tensor), sampled
    return sampled


def sample_one(bundle: Bundle, canvas: Canvas, **options: Any) -> torch.Tensor:
    """Latents of a canvas that an engine samples alone."""
    return latents(build_engine(bundle, **options).run([canvas])[canvas.key])


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def full_control(bundle: Bundle, seed: int = 0) -> tuple[ControlNetModel, FullControl]:
    """A ControlNet with a pixel hint and non-zero residuals, whole and in two parts."""
    generator = torch.Generator().manual_seed(seed)
    whole: ControlNetModel = ControlNetModel.from_unet(bundle.unet).eval().requires_grad_(False)
    for name, parameter in whole.named_parameters():
        if "controlnet_" in name:
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    parts = ControlNetModel.from_config(whole.config).eval().requires_grad_(False)
    parts.load_state_dict(whole.state_dict())
    return whole, split_hint(parts)


def full_branches(bundle: Bundle, full: FullControl) -> Branches:
    return Branches(shared=branches_of(bundle).shared, per_row={"full": ControlNetBranch(full, LATENT[1:])})


def inpainting_unet(bundle: Bundle) -> UNet2DConditionModel:
    """The miniature's UNet with nine input channels, five of them with random weights."""
    unet: UNet2DConditionModel = UNet2DConditionModel.from_config({**bundle.unet.config, "in_channels": 9})
    state = bundle.unet.state_dict()
    generator = torch.Generator().manual_seed(4)
    weight = state["conv_in.weight"]
    further = 0.1 * torch.randn(weight.shape[0], 5, *weight.shape[2:], generator=generator)
    unet.load_state_dict({**state, "conv_in.weight": torch.cat([weight, further], 1)})
    return unet.eval().requires_grad_(False)
