"""Class pictures of DreamBooth: what the frozen bundle draws from a prompt before training, kept beside the checkpoint.

Every picture is drawn alone and named by the seed, so it depends neither on the others nor on the number of workers,
and a run that is started again draws only those that are missing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Final

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, distributed

from dentgen import storage
from dentgen.errors import SpecError
from dentgen.models.bundle import parts_digest
from dentgen.seeding import derive_seed
from dentgen.spec.train_personal import DreamBoothSpec
from dentgen.training.frozen_networks import FrozenText, frozen_unet
from dentgen.training.preview import predict_noise, sample

_LOG = logging.getLogger(__name__)
_FOLDER: Final = "class_pictures"
#: Pictures per file: what a killed run loses at most, per worker.
_PER_FILE: Final = 8
_MOST_BYTES: Final = 2**26


class ClassPictures:
    """Latents of a run's class pictures."""

    def __init__(self, spec: DreamBoothSpec, latent_size: int, device: torch.device) -> None:
        """Name them; nothing is drawn yet.

        Args:
            spec: The run.
            latent_size: Edge of the latents.
            device: Where they are drawn and used.
        """
        self._spec, self._device = spec, device
        self._shape = (4, latent_size, latent_size)
        self._latents: Tensor | None = None

    def make(self, rank: int = 0, count: int = 1) -> None:
        """Draw a worker's share of the missing pictures, wait for the others', and read all.

        Args:
            rank: The worker's number.
            count: Number of workers.

        Raises:
            SpecError: If a file of earlier pictures is damaged.
            BundleError: If the bundle cannot be used.
        """
        folder = storage.join(self._spec.checkpoints, _FOLDER, self._identity())
        starts = range(0, self._spec.class_pictures, _PER_FILE)
        places = {storage.join(folder, f"{start:06d}.safetensors"): start for start in starts}
        missing = {place: start for place, start in list(places.items())[rank::count] if self._read(place) is None}
        if missing:
            self._draw_files(missing)
        if count > 1:
            distributed.barrier()
        self._latents = torch.cat([self._required(place) for place in places])[: self._spec.class_pictures]
        _LOG.info("%d class pictures of %r in %s", len(self._latents), self._spec.class_prompt, folder)

    def latents(self, numbers: list[int]) -> Float[Tensor, "b 4 h w"]:
        """Scaled latents of pictures by number, counted from 0."""
        assert self._latents is not None, "make() comes first"
        return self._latents[numbers].to(self._device)

    def _identity(self) -> str:
        """Name of everything that decides the pictures but their number and the machine."""
        spec = self._spec
        parts = parts_digest(Path(spec.bundle), ["tokenizer", "text_encoder", "unet"])
        values = [parts, spec.class_prompt, spec.class_steps, spec.class_guidance, spec.seed, self._shape]
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]

    def _draw_files(self, missing: dict[str, int]) -> None:
        drawing = _Drawing(self._spec, self._shape, self._device)
        for done, (place, start) in enumerate(missing.items()):
            _LOG.info("drawing class pictures: %d of %d files", done + 1, len(missing))
            latents = torch.stack([drawing.draw(number) for number in range(start, start + _PER_FILE)])
            storage.overwrite(place, save({"latents": latents}))

    def _read(self, place: str) -> Tensor | None:
        """Latents of a file, None if there is none.

        Raises:
            SpecError: If it is damaged.
        """
        content = storage.read_if_exists(place, _MOST_BYTES)
        if content is None:
            return None
        try:
            latents = load(content).get("latents", torch.empty(0))
        except SafetensorError as error:
            raise _damaged(place, str(error)) from error
        if latents.shape != (_PER_FILE, *self._shape) or not bool(latents.isfinite().all()):
            raise _damaged(place, f"latents of shape {list(latents.shape)}")
        return latents

    def _required(self, place: str) -> Tensor:
        latents = self._read(place)
        if latents is None:
            raise _damaged(place, "no such file")
        return latents


class _Drawing:
    """The frozen networks that draw; they are needed only while pictures are missing."""

    def __init__(self, spec: DreamBoothSpec, shape: tuple[int, ...], device: torch.device) -> None:
        self._spec, self._shape, self._device = spec, shape, device
        self._unet, text = frozen_unet(spec, device), FrozenText(spec, device)
        self._embeds, self._empty = text([spec.class_prompt or ""]), text([""])

    @torch.no_grad()
    def draw(self, number: int) -> Float[Tensor, "4 h w"]:
        """Scaled latents of one picture, float32 on the CPU."""
        seed = derive_seed(self._spec.seed, self._spec.recipe, "class picture", number)
        noise = torch.randn((1, *self._shape), generator=torch.Generator().manual_seed(seed)).to(self._device)
        return sample(self._noise_of, noise, steps=self._spec.class_steps)[0].float().cpu()

    def _noise_of(self, latents: Tensor, timesteps: Tensor) -> Tensor:
        noise, scale = predict_noise(self._unet, latents, timesteps, self._embeds, None), self._spec.class_guidance
        if scale == 1:
            return noise
        unconditional = predict_noise(self._unet, latents, timesteps, self._empty, None)
        return unconditional + scale * (noise - unconditional)


def _damaged(place: str, found: str) -> SpecError:
    expected = f"{_PER_FILE} latents of class pictures"
    return SpecError(file=place, found=found, expected=expected, advice="remove the file; it is drawn again")
