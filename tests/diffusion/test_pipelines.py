"""Whole pictures against diffusers' own pipelines, given the same noise: at most one level of 255 apart, everywhere.

Canvases of all schedulers and all starts share one engine, so every batch is mixed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.models.autoencoder import LatentCodec
from dentgen.models.bundle import Bundle
from dentgen.models.control import NoHint
from dentgen.models.schedulers import make_scheduler
from dentgen.seeding import NoiseKey
from dentgen.spec.build import SchedulerName
from tests.diffusion.parts import (
    BLENDED,
    LATENT,
    PROMPTS,
    build_engine,
    full_branches,
    full_control,
    inpainting_unet,
    latents,
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
    """ctrLoRA behind a ControlNet's interface: the condition's latents take the noisy latents' place."""

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
    """One picture: how it is made, and the canvas that makes it here."""

    name: SchedulerName
    steps: int
    mode: str
    canvas: Canvas


@pytest.fixture
def noise_of(monkeypatch: pytest.MonkeyPatch) -> list[Canvas]:
    """The canvas in this list lends its noise to diffusers: the first draw of a pipeline starts it, others follow."""
    serving: list[Canvas] = []
    drawn: dict[str, int] = {}

    def injected(shape: Any, **options: Any) -> torch.Tensor:
        if not serving:
            return randn_tensor(shape, **options)
        step = drawn[serving[0].key] = drawn.get(serving[0].key, -1) + 1
        return serving[0].noise.normal("injected", step, LATENT)[None]

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


HINT = np.random.default_rng(3).integers(0, 256, (128, 128, 3), np.uint8)
IMAGE = random_latents(77)
MASKED = random_latents(78)
KEEP = torch.zeros(16, 16, dtype=torch.bool)
KEEP[:, :6] = True


def as_tensor(image: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


def pipeline(bundle: Bundle, kind: Any, name: SchedulerName, unet: Any, **control: Any) -> Any:
    made = kind(
        vae=bundle.vae, text_encoder=bundle.text_encoder, tokenizer=bundle.tokenizer, unet=unet,
        scheduler=make_scheduler(name, bundle.folder), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False, **control,
    )  # fmt: skip
    made.set_progress_bar_config(disable=True)
    return made


@torch.no_grad()
def diffusers_picture(bundle: Bundle, case: Case, controlnet: Any, unet: Any) -> NDArray[np.uint8]:
    """The picture of diffusers' own pipeline for a case."""
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
        named |= {"height": 128, "width": 128}
    if controlnet is not None:
        named |= {"image" if case.mode == "text" else "control_image": as_tensor(HINT)}
        named |= {"controlnet_conditioning_scale": SCALE}
    control = {} if controlnet is None else {"controlnet": controlnet}
    run = pipeline(bundle, kinds[case.mode, controlnet is not None], case.name, unet, **control)
    if case.mode == "inpaint" and controlnet is not None:  # this one takes pixels only, and encodes them at random
        named["image"] = torch.zeros(1, 3, 128, 128)
        run._encode_vae_image = lambda image, generator: IMAGE[None]
    picture = run(
        prompt=PROMPTS[0], negative_prompt=PROMPTS[1], num_inference_steps=case.steps,
        guidance_scale=guidance.scale, output_type="np", generator=torch.Generator(), **named,
    ).images[0]  # fmt: skip
    return np.asarray((picture * 255).round().astype(np.uint8))


def case(
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


def check(
    bundle: Bundle,
    cases: list[Case],
    expected: Callable[[Case], NDArray[np.uint8]],
    noise_of: list[Canvas],
    **engine: Any,
) -> None:
    columns = max(case.canvas.table.num_columns for case in cases)
    found = build_engine(bundle, slots=7, control_slots=3, columns=columns, **engine).run(c.canvas for c in cases)
    pictures = LatentCodec(bundle.vae, 8).decode([latents(found[c.canvas.key]) for c in cases])
    for made, picture in zip(cases, pictures, strict=True):
        noise_of[:] = [made.canvas]
        difference = np.abs(picture.astype(int) - expected(made).astype(int))
        assert difference.max() <= 1, f"{made.canvas.key}: {difference.max()} levels"
        assert picture.std() > 1, f"{made.canvas.key}: a picture without contrast proves nothing"


@pytest.mark.parametrize("mode", ["text", "image", "inpaint"])
def test_without_control(miniature: Bundle, noise_of: list[Canvas], mode: str) -> None:
    unet = miniature.unet
    cases = [case(miniature, name, steps, mode, (), 1.0 + n % 2, unet) for n, (name, steps) in enumerate(SCHEDULERS)]
    check(miniature, cases, lambda made: diffusers_picture(miniature, made, None, unet), noise_of)


@pytest.mark.parametrize("mode", ["text", "image", "inpaint"])
def test_with_ctrlora(miniature: Bundle, noise_of: list[Canvas], mode: str) -> None:
    controlnet = CtrLoRA.of(miniature)
    (condition,) = LatentCodec(miniature.vae, 1).encode_control([HINT])
    controls = (ControlInput(BLENDED, KeyedTensor("hint", condition), SCALE),)
    cases = [
        case(miniature, name, steps, mode, controls, 1.0 + (n + 1) % 2, miniature.unet)
        for n, (name, steps) in enumerate(SCHEDULERS)
    ]
    check(miniature, cases, lambda made: diffusers_picture(miniature, made, controlnet, miniature.unet), noise_of)


@pytest.mark.parametrize("mode", ["text", "image", "inpaint"])
def test_with_a_full_controlnet(miniature: Bundle, noise_of: list[Canvas], mode: str) -> None:
    whole, full = full_control(miniature)
    controls = (ControlInput("full", KeyedTensor("hint", full.embed(HINT)), SCALE),)
    cases = [
        case(miniature, name, steps, mode, controls, 1.0 + n % 2, miniature.unet)
        for n, (name, steps) in enumerate(SCHEDULERS)
    ]
    expected = partial(diffusers_picture, miniature, controlnet=whole, unet=miniature.unet)
    check(miniature, cases, expected, noise_of, branches=full_branches(miniature, full))


def test_a_unet_that_sees_the_mask(miniature: Bundle, noise_of: list[Canvas]) -> None:
    unet = inpainting_unet(miniature)
    cases = [
        case(miniature, name, steps, "inpaint", (), 1.0 + n % 2, unet) for n, (name, steps) in enumerate(SCHEDULERS)
    ]
    check(miniature, cases, lambda made: diffusers_picture(miniature, made, None, unet), noise_of, unet=unet)
