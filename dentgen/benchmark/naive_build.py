"""A naive baseline for builds: Ray Data ``map_batches`` around a diffusers loop, then ``write_webdataset``.

It uses the networks, scheduler, steps, decoder, precision and threads of a build, and lacks what a build adds: control
shared between variants, overlapping stages, resumption, reproducible bytes.
"""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import ray.data
import torch
from PIL import Image
from torch import Tensor

from dentgen.conditions.decode import decode_record
from dentgen.conditions.prepare import control_image, fit_record
from dentgen.conditions.readers.raw import RawRecord
from dentgen.conditions.readers.source import list_shards
from dentgen.errors import SpecError
from dentgen.models.bundle import load_bundle
from dentgen.models.control import control_residuals
from dentgen.models.pruning import fitting_residuals
from dentgen.models.schedulers import make_scheduler
from dentgen.spec.build import BuildSpec

Row = dict[str, Any]


def build_naively(spec: BuildSpec, environment: dict[str, str], batch: int) -> None:
    """Generate every variant of every record of a WebDataset source into ``output.path``.

    Args:
        spec: The build to imitate.
        environment: Its ``device`` and ``dtype``.
        batch: Rows per network call.

    Raises:
        SpecError: If the spec asks for something that the baseline would ignore.
    """
    check_naive(spec)
    on_gpu = environment["device"] == "cuda"
    variants = range(spec.sampling.variants)
    rows = ray.data.read_webdataset([shard.url for shard in list_shards(spec.source.path)], decoder=None)
    samples = rows.flat_map(lambda row: [{**row, "variant": variant} for variant in variants])
    generated = samples.map_batches(
        NaiveGenerator,
        fn_constructor_args=(spec.model_dump(mode="json"), environment),
        batch_size=batch,
        compute=ray.data.ActorPoolStrategy(size=spec.pipeline.most_actors),
        num_cpus=0 if on_gpu else 1,
        num_gpus=1 if on_gpu else 0,
    )
    generated.write_webdataset(spec.output.path, encoder=None)


def check_naive(spec: BuildSpec) -> None:
    """Check that the baseline generates what a build of this spec does.

    Raises:
        SpecError: If the spec asks for something that the baseline would ignore.
    """
    sampling, model = spec.sampling, spec.model
    required = {
        "pipeline.actors": (spec.pipeline.most_actors, 1),
        "source.oversample": (spec.source.oversample, {}),
        "sampling.guidance_scale": (sampling.guidance_scale, 1),
        "sampling.start_from": (sampling.start_from, "noise"),
        "sampling.prompt_to": (sampling.prompt_to, None),
        "sampling.timesteps": (sampling.timesteps, None),
        "sampling.window": (sampling.window, None),
        "findings": (spec.findings, ()),
        "regions.painted": (spec.regions.painted, 0),
        "variants.change": (spec.variants.change, ()),
        "conditions.combine": (spec.conditions.combine, "blend"),
        "model.decoder": (model.decoder, "kl"),
        "model.controlnets": (model.controlnets, {}),
        "model.loras": (model.loras, {}),
        "model.embeddings": (model.embeddings, ()),
    }
    for key, (found, expected) in required.items():
        if found != expected:
            raise SpecError("not supported by this benchmark", key=key, found=str(found), expected=str(expected))
    if len(model.adapters) != 1 or any(isinstance(scale, dict) for scale in model.adapters.values()):
        raise SpecError(
            "not supported by this benchmark", key="model.adapters", found=str(model.adapters), expected="one scale"
        )


class NaiveGenerator:
    """A Ray Data callable that generates one batch at a time."""

    def __init__(self, values: dict[str, Any], environment: dict[str, str]) -> None:
        """Load the networks.

        Args:
            values: The build spec as plain values.
            environment: ``device`` and ``dtype``.
        """
        self._spec = BuildSpec.model_validate(values)
        torch.set_num_threads(self._spec.engine.threads)
        dtype = getattr(torch, environment["dtype"])
        model, sampling = self._spec.model, self._spec.sampling
        self._bundle = load_bundle(model, device=environment["device"], dtype=dtype)
        (scale,) = model.adapters.values()
        assert not isinstance(scale, dict)  # the benchmark refuses others
        self._scale = scale
        self._scheduler = make_scheduler(sampling.scheduler, self._bundle.folder, sampling.scheduler_options)

    @torch.no_grad()
    def __call__(self, batch: Row) -> Row:
        """Decode, fit, embed, encode, sample, decode and compress, each step for the whole batch."""
        keys = [str(key) for key in batch["__key__"]]
        records = [self._record(batch, i) for i in range(len(keys))]
        prompts = self._embed([record.prompt for record in records])
        images = [control_image(r, self._spec.conditions.use, self._spec.conditions.alpha) for r in records]
        latents = self._sample(prompts, self._encode(np.stack(images)))
        decoded = self._decode(latents)
        return {
            "__key__": [f"{key}-v{v:03d}" for key, v in zip(keys, batch["variant"], strict=True)],
            "png": [_png(image) for image in decoded],
            "seg.png": [_png(record.conditions["segmentation"]) for record in records],
            "fdi.png": [_png(record.fdi) for record in records],
            "light.png": [_png(record.conditions["lighting"]) for record in records],
            "json": [json.dumps({"prompt": record.prompt, "seed": 0}).encode() for record in records],
        }

    def _record(self, batch: Row, number: int) -> Any:
        names = [name for name in batch if name.endswith(("png", "json")) and batch[name][number] is not None]
        raw = RawRecord(str(batch["__key__"][number]), "", {name: bytes(batch[name][number]) for name in names})
        record = decode_record(raw, self._spec.conditions.use)
        return fit_record(record, self._spec.conditions.shape, self._spec.conditions.fit)

    def _embed(self, prompts: list[str]) -> Tensor:
        if self._spec.sampling.prompt is not None:
            prompts = [self._spec.sampling.prompt] * len(prompts)
        tokens = self._bundle.tokenizer(prompts, padding="max_length", return_tensors="pt").input_ids
        embeddings: Tensor = self._bundle.text_encoder(tokens.to(self._bundle.unet.device))[0]
        return embeddings

    def _encode(self, images: np.ndarray) -> Tensor:
        vae = self._bundle.vae
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(vae.device, vae.dtype) / 255
        latents: Tensor = vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor
        return latents

    def _sample(self, prompts: Tensor, conditions: Tensor) -> Tensor:
        control, latents = self._bundle.control, torch.randn_like(conditions)
        assert control is not None
        self._scheduler.set_timesteps(self._spec.sampling.steps)
        for timestep in self._scheduler.timesteps:
            times = timestep.to(latents.device).expand(len(latents))
            residuals = control_residuals(control, conditions, times, prompts)
            *down, middle = [residual * self._scale for residual in residuals]
            scaled = self._scheduler.scale_model_input(latents, timestep)
            fitting = tuple(fitting_residuals(down, self._bundle.unet.config))
            noise = self._bundle.unet(
                scaled, times, prompts, down_block_additional_residuals=fitting,
                mid_block_additional_residual=middle, return_dict=False,
            )[0]  # fmt: skip
            latents = self._scheduler.step(noise, timestep, latents, return_dict=False)[0]
        return latents

    def _decode(self, latents: Tensor) -> np.ndarray:
        decoded = self._bundle.vae.decode(latents / self._bundle.vae.config.scaling_factor).sample
        levels = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        return levels.permute(0, 2, 3, 1).cpu().numpy()


def _png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()
