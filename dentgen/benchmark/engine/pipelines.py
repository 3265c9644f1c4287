"""diffusers' own pipeline as contestant: StableDiffusionControlNetPipeline, batched, on the same networks.

It is given every advantage: noise drawn in advance, control images encoded once per call instead of once per step, the
same compile setting, and encoder and decoder in the engine's batches (tensors of a KL decoder exceed 2^31 elements at
32 images of 512 pixels).
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
from dentgen.models.bundle import Bundle
from dentgen.models.control import NoHint
from dentgen.models.schedulers import make_scheduler
from dentgen.spec.sampling import SchedulerName


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a pipeline samples.

    Attributes:
        scheduler, steps: Solver and number of steps.
        batch: Images per call; guidance takes two UNet rows per image.
        guidance_scale: 1 disables guidance.
        negative_prompt: Prompt of the second row.
    """

    scheduler: SchedulerName
    steps: int
    batch: int
    guidance_scale: float = 1.0
    negative_prompt: str = ""


@dataclass(slots=True, eq=False)
class PipelineContestant:
    """A diffusers pipeline.

    Attributes:
        pipeline: The pipeline.
        recipe: How it samples.
        pictures: Images of the last run, by key.
    """

    pipeline: Any
    recipe: Recipe
    pictures: dict[str, NDArray[np.uint8]] = field(default_factory=dict)

    @classmethod
    def of(cls, work: Work, recipe: Recipe) -> Self:
        """Build the pipeline from the work's networks, with the work's compile setting."""
        bundle, settings = work.generator.bundle, work.spec.engine
        compiled, guided = settings.compile, recipe.guidance_scale != 1
        decoder = bundle.vae if bundle.tiny_decoder is None else bundle.tiny_decoder
        pipeline = StableDiffusionControlNetPipeline(
            vae=_in_batches(decoder, settings.codec_batch, compiled=compiled),
            text_encoder=bundle.text_encoder,
            tokenizer=bundle.tokenizer,
            unet=torch.compile(bundle.unet, dynamic=False) if compiled else bundle.unet,
            controlnet=LatentControlNet.of(bundle, settings.codec_batch, guided=guided, compiled=compiled),
            scheduler=make_scheduler(recipe.scheduler, bundle.folder),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        return cls(pipeline, recipe)

    def pieces(self, work: Work) -> Pieces:
        """Generate images, one ``call`` per batch, from noise drawn in advance."""
        unet = work.generator.bundle.unet
        ready = [(batch, batch.noise().to(unet.device, unet.dtype)) for batch in batches(work, self.recipe.batch)]
        self.pictures = {}
        for batch, noise in ready:
            keys = [request.key for request in batch.requests]
            self.pictures.update(zip(keys, self._call(batch, noise), strict=True))
            yield "call"

    def _call(self, work: Work, noise: Tensor) -> NDArray[np.uint8]:
        controls = torch.from_numpy(np.stack(work.control_images())).to(noise.device).permute(0, 3, 1, 2)
        (route,) = work.generator.routes
        images: Tensor = self.pipeline(
            prompt=[request.prompt for request in work.requests],
            negative_prompt=[self.recipe.negative_prompt] * len(work.requests),
            image=controls.float() / 255,
            latents=noise,
            num_inference_steps=self.recipe.steps,
            guidance_scale=self.recipe.guidance_scale,
            controlnet_conditioning_scale=route.scale,
            output_type="pt",
            return_dict=False,
        )[0]
        return (images.float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


class LatentControlNet(ControlNetModel):  # type: ignore[misc]
    """ctrLoRA behind the interface of diffusers' ControlNet: it reads the control image's latents instead of x_t."""

    _image: Tensor | None

    @classmethod
    def of(cls, bundle: Bundle, batch: int, *, guided: bool, compiled: bool) -> Self:
        """Share a bundle's control net and its encoder, which is called with ``batch`` images.

        With guidance the pipeline passes every control image twice.
        """
        assert bundle.control is not None
        with torch.device("meta"):
            net: Self = cls.from_config(bundle.control.config)
        net.controlnet_cond_embedding = NoHint()
        net.load_state_dict(bundle.control.state_dict(), assign=True)
        net.eval().requires_grad_(False)
        net._encode, net._image, net._copies = _encoder(bundle.vae, batch), None, 2 if guided else 1
        net._inner = torch.compile(super(cls, net).forward, dynamic=False) if compiled else super(cls, net).forward
        return net

    def forward(self, sample: Tensor, timestep: Tensor, *, controlnet_cond: Tensor, **options: Any) -> Any:
        """Compute residuals; a control image is encoded when first seen, which is once per pipeline call."""
        if controlnet_cond is not self._image:
            distinct = controlnet_cond[: len(controlnet_cond) // self._copies]
            self._image, self._latents = controlnet_cond, torch.cat([self._encode(distinct)] * self._copies)
        return self._inner(self._latents, timestep, controlnet_cond=sample.new_zeros(1), **options)


def _encoder(vae: AutoencoderKL, size: int) -> Callable[[Tensor], Tensor]:
    """Encode images in [0, 1] to scaled latents at the posterior's mode.

    A closure, because ``nn.Module`` would register the autoencoder as a submodule of the control net.
    """

    def encode(images: Tensor) -> Tensor:
        batches = [vae.encode(batch).latent_dist.mode() for batch in images.split(size)]
        return torch.cat(batches) * float(vae.config["scaling_factor"])

    return encode


def _in_batches(
    decoder: AutoencoderKL | AutoencoderTiny, size: int, *, compiled: bool
) -> AutoencoderKL | AutoencoderTiny:
    """A view of the decoder with shared weights that decodes in the engine's batches."""
    decode = torch.compile(decoder.decode, dynamic=False) if compiled else decoder.decode

    def decode_all(latents: Tensor, **options: Any) -> tuple[Tensor]:
        options.pop("generator", None)
        return (torch.cat([decode(batch, **options)[0] for batch in latents.split(size)]),)

    view = copy.copy(decoder)
    view.decode = decode_all
    return view
