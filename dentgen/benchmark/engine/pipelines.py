"""diffusers' own pipeline as contestant: StableDiffusionControlNetPipeline, batched, on the same networks.

It gets what helps it: noise that lies ready, control images encoded once per call and not once per step, the networks'
compile setting, and encoder and decoder in the engine's batches (a KL decoder's tensors pass 2^31 elements at 32
pictures of 512 pixels). Refuses to know the engine.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, StableDiffusionControlNetPipeline
from numpy.typing import NDArray
from torch import Tensor

from dentgen.benchmark.engine.clock import Pieces
from dentgen.benchmark.engine.work import Work, batches
from dentgen.generation.generator import CODEC_BATCH
from dentgen.models.bundle import Bundle
from dentgen.models.control import NoHint
from dentgen.models.schedulers import make_scheduler
from dentgen.spec.build import SchedulerName


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a pipeline samples.

    Attributes:
        scheduler, steps: The solver.
        batch: Pictures per call; with guidance there are two UNet rows a picture.
        guidance_scale: 1 is none.
        negative_prompt: Prompt of the second row.
    """

    scheduler: SchedulerName
    steps: int
    batch: int
    guidance_scale: float = 1.0
    negative_prompt: str = ""


@dataclass(slots=True, eq=False)
class PipelineContestant:
    """A pipeline.

    Attributes:
        pipeline: diffusers' own.
        recipe: How it samples.
        pictures: What the last run made, by key.
    """

    pipeline: Any
    recipe: Recipe
    pictures: dict[str, NDArray[np.uint8]] = field(default_factory=dict)

    @classmethod
    def of(cls, work: Work, recipe: Recipe) -> Self:
        """Put the pipeline together on the work's networks, in the work's compile setting."""
        bundle, compiled = work.generator.bundle, work.spec.engine.compile
        decoder = bundle.vae if bundle.tiny_decoder is None else bundle.tiny_decoder
        pipeline = StableDiffusionControlNetPipeline(
            vae=_in_batches(decoder, compiled),
            text_encoder=bundle.text_encoder,
            tokenizer=bundle.tokenizer,
            unet=torch.compile(bundle.unet, dynamic=False) if compiled else bundle.unet,
            controlnet=LatentControlNet.of(bundle, guided=recipe.guidance_scale != 1, compiled=compiled),
            scheduler=make_scheduler(recipe.scheduler, bundle.folder),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        return cls(pipeline, recipe)

    def pieces(self, work: Work) -> Pieces:
        """Make pictures, one ``call`` a batch; with noise that was drawn before."""
        unet = work.generator.bundle.unet
        ready = [(batch, batch.noise().to(unet.device, unet.dtype)) for batch in batches(work, self.recipe.batch)]
        self.pictures = {}
        for batch, noise in ready:
            keys = [request.key for request in batch.requests]
            self.pictures.update(zip(keys, self._call(batch, noise), strict=True))
            yield "call"

    def _call(self, work: Work, noise: Tensor) -> NDArray[np.uint8]:
        images = torch.from_numpy(np.stack(work.images())).to(noise.device).permute(0, 3, 1, 2)
        (route,) = work.generator.routes
        made: Tensor = self.pipeline(
            prompt=[request.prompt for request in work.requests],
            negative_prompt=[self.recipe.negative_prompt] * len(work.requests),
            image=images.float() / 255,
            latents=noise,
            num_inference_steps=self.recipe.steps,
            guidance_scale=self.recipe.guidance_scale,
            controlnet_conditioning_scale=route.scale,
            output_type="pt",
            return_dict=False,
        )[0]
        return (made.float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


class LatentControlNet(ControlNetModel):  # type: ignore[misc]
    """ctrLoRA as diffusers' pipeline calls a ControlNet: the hint's latents take the noisy latents' place."""

    _image: Tensor | None

    @classmethod
    def of(cls, bundle: Bundle, *, guided: bool, compiled: bool) -> Self:
        """Share a bundle's control net and encoder; with guidance the pipeline hands every hint over twice."""
        assert bundle.control is not None
        with torch.device("meta"):
            net: Self = cls.from_config(bundle.control.config)
        net.controlnet_cond_embedding = NoHint()
        net.load_state_dict(bundle.control.state_dict(), assign=True)
        net.eval().requires_grad_(False)
        net._encode, net._image, net._copies = _encoder(bundle.vae), None, 2 if guided else 1
        net._inner = torch.compile(super(cls, net).forward, dynamic=False) if compiled else super(cls, net).forward
        return net

    def forward(self, sample: Tensor, timestep: Tensor, *, controlnet_cond: Tensor, **options: Any) -> Any:
        """Residuals; a hint is encoded when it is first seen, which is once per call of the pipeline."""
        if controlnet_cond is not self._image:
            distinct = controlnet_cond[: len(controlnet_cond) // self._copies]
            self._image, self._latents = controlnet_cond, torch.cat([self._encode(distinct)] * self._copies)
        return self._inner(self._latents, timestep, controlnet_cond=sample.new_zeros(1), **options)


def _encoder(vae: AutoencoderKL) -> Callable[[Tensor], Tensor]:
    """Images in [0, 1] to scaled latents at the posterior's mode; a function, which no module takes for its part."""

    def encode(images: Tensor) -> Tensor:
        found = [vae.encode(some).latent_dist.mode() for some in images.split(CODEC_BATCH)]
        return torch.cat(found) * float(vae.config["scaling_factor"])

    return encode


def _in_batches(decoder: AutoencoderKL | AutoencoderTiny, compiled: bool) -> AutoencoderKL | AutoencoderTiny:
    """A view of the decoder, its weights shared, that decodes in the engine's batches."""
    decode = torch.compile(decoder.decode, dynamic=False) if compiled else decoder.decode

    def decode_all(latents: Tensor, **options: Any) -> tuple[Tensor]:
        options.pop("generator", None)
        return (torch.cat([decode(some, **options)[0] for some in latents.split(CODEC_BATCH)]),)

    view = copy.copy(decoder)
    view.decode = decode_all
    return view
