"""Pictures of diffusers' own pipelines, given the noise of the engine's canvases."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)
from diffusers.utils.torch_utils import randn_tensor
from numpy.typing import NDArray

from dentgen.diffusion.canvas import Canvas, ControlInput, Repaint
from dentgen.diffusion.guidance import Guidance
from dentgen.models.bundle import Bundle
from dentgen.models.control import NoHint
from dentgen.models.schedulers import make_scheduler
from dentgen.seeding import NoiseKey
from dentgen.spec.sampling import SchedulerName
from tests.diffusion.parts import (
    LATENT,
    PIXELS,
    PROMPTS,
    prompt,
    random_latents,
    table_of,
)

SCHEDULERS: tuple[tuple[SchedulerName, int], ...] = (
    ("unipc", 4), ("lcm", 4), ("ddim", 9), ("dpmpp_2m", 5), ("euler", 6)
)  # fmt: skip
STRENGTH = 0.6
SCALE = 0.8


class CtrLoRA(ControlNetModel):  # type: ignore[misc]
    """ctrLoRA with the interface of a ControlNet: the condition's latents replace the noisy latents."""

    encode: Callable[[torch.Tensor], torch.Tensor]

    @classmethod
    def of(cls, bundle: Bundle) -> CtrLoRA:
        assert bundle.control is not None
        control: CtrLoRA = cls.from_config(bundle.control.config)
        control.controlnet_cond_embedding = NoHint()
        control.load_state_dict(bundle.control.state_dict())
        scale = bundle.vae.config["scaling_factor"]
        control.encode = lambda image: bundle.vae.encode(image).latent_dist.mode() * scale
        return control.eval()

    def forward(self, sample: torch.Tensor, *args: Any, **named: Any) -> Any:
        named["controlnet_cond"] = self.encode(named["controlnet_cond"].to(sample))
        named["controlnet_cond"], sample = sample.new_zeros(1), named["controlnet_cond"]
        return super().forward(sample, *args, **named)


@dataclass(frozen=True)
class Case:
    """One picture: the arguments of a pipeline, and the equivalent canvas."""

    name: SchedulerName
    steps: int
    mode: str
    canvas: Canvas
    prompts: tuple[str, str] = PROMPTS[:2]
    hint: NDArray[np.uint8] = field(default_factory=lambda: HINT)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the picture."""
        return self.hint.shape[0], self.hint.shape[1]


def serve_noise(monkeypatch: pytest.MonkeyPatch) -> list[Canvas]:
    """Patch diffusers to draw the noise of the canvas in the returned list."""
    serving: list[Canvas] = []
    drawn: dict[str, int] = {}

    def injected(shape: Any, **options: Any) -> torch.Tensor:
        if not serving:
            return randn_tensor(shape, **options)
        step = drawn[serving[0].key] = drawn.get(serving[0].key, -1) + 1
        return serving[0].noise.normal("injected", step, tuple(shape)[1:])[None]

    def initial(shape: Any, **_: Any) -> torch.Tensor:
        return serving[0].noise.normal("initial", 0, tuple(shape)[1:])[None]

    monkeypatch.setattr(importlib.import_module("diffusers.schedulers.scheduling_lcm"), "randn_tensor", injected)
    for module in (
        "stable_diffusion.pipeline_stable_diffusion", "stable_diffusion.pipeline_stable_diffusion_img2img",
        "stable_diffusion.pipeline_stable_diffusion_inpaint", "controlnet.pipeline_controlnet",
        "controlnet.pipeline_controlnet_img2img", "controlnet.pipeline_controlnet_inpaint",
    ):  # fmt: skip
        monkeypatch.setattr(importlib.import_module(f"diffusers.pipelines.{module}"), "randn_tensor", initial)
    return serving


HINT: NDArray[np.uint8] = np.random.default_rng(3).integers(0, 256, (PIXELS, PIXELS, 3), np.uint8)
IMAGE = random_latents(77)
MASKED = random_latents(78)
KEEP = torch.zeros(LATENT[1:], dtype=torch.bool)
KEEP[:, :3] = True


def as_tensor(image: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


def pipeline(bundle: Bundle, kind: Any, name: SchedulerName, unet: Any, **control: Any) -> Any:
    pipe = kind(
        vae=bundle.vae, text_encoder=bundle.text_encoder, tokenizer=bundle.tokenizer, unet=unet,
        scheduler=make_scheduler(name, bundle.folder), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False, **control,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


@torch.no_grad()
def diffusers_picture(bundle: Bundle, case: Case, controlnet: Any, unet: Any) -> NDArray[np.uint8]:
    """The picture (H, W, 3) uint8 of diffusers' pipeline for a case."""
    guidance = case.canvas.guidance
    named: dict[str, Any] = {}
    kinds: dict[tuple[str, bool], Any] = {
        ("text", False): StableDiffusionPipeline, ("text", True): StableDiffusionControlNetPipeline,
        ("image", False): StableDiffusionImg2ImgPipeline, ("image", True): StableDiffusionControlNetImg2ImgPipeline,
        ("inpaint", False): StableDiffusionInpaintPipeline, ("inpaint", True): StableDiffusionControlNetInpaintPipeline,
    }  # fmt: skip
    if case.mode != "text":
        named |= {"image": IMAGE[None], "strength": STRENGTH}
    if case.mode == "inpaint":
        named |= {"mask_image": (~KEEP).float()[None, None].repeat_interleave(8, 2).repeat_interleave(8, 3)}
        named |= {"masked_image_latents": MASKED[None]} if controlnet is None else {}
    if case.mode != "image":
        named |= dict(zip(("height", "width"), case.shape, strict=True))
    if controlnet is not None:
        named |= {"image" if case.mode == "text" else "control_image": as_tensor(case.hint)}
        named |= {"controlnet_conditioning_scale": SCALE}
    control = {} if controlnet is None else {"controlnet": controlnet}
    run = pipeline(bundle, kinds[case.mode, controlnet is not None], case.name, unet, **control)
    if case.mode == "inpaint" and controlnet is not None:  # this pipeline takes pixels alone and samples their latents
        named["image"] = torch.zeros(1, 3, PIXELS, PIXELS)
        run._encode_vae_image = lambda image, generator: IMAGE[None]
    picture = run(
        prompt=case.prompts[0], negative_prompt=case.prompts[1], num_inference_steps=case.steps,
        guidance_scale=guidance.scale, output_type="np", generator=torch.Generator(), **named,
    ).images[0]  # fmt: skip
    return np.asarray((picture * 255).round().astype(np.uint8))


def make_case(
    bundle: Bundle,
    name: SchedulerName,
    steps: int,
    mode: str,
    controls: tuple[ControlInput, ...],
    scale: float,
    unet: Any,
) -> Case:
    table = table_of(bundle, name, steps, strength=1.0 if mode == "text" else STRENGTH)
    masked = MASKED if unet.config["in_channels"] == 9 else None
    repaint = Repaint(KEEP, masked) if mode == "inpaint" else None
    key = f"{name} {mode} {[c.branch for c in controls]} {scale}"
    guidance = Guidance(scale, "full", prompt(bundle, PROMPTS[1]))
    image = None if mode == "text" else IMAGE
    canvas = Canvas(key, NoiseKey(3, key, 0), table, prompt(bundle, PROMPTS[0]), guidance, controls, image, repaint)
    return Case(name, steps, mode, canvas)
