"""Two contestants on the same work: the whole engine, and nothing but the network calls that it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dentgen.benchmark.engine.clock import Pieces
from dentgen.benchmark.engine.work import Work
from dentgen.diffusion.canvas import Finished
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.generation.canvases import build_canvases
from dentgen.models.networks import ControlBranch, UNetDenoiser


@dataclass(slots=True, eq=False)
class EngineContestant:
    """A warm engine with its codec.

    Attributes:
        engine: The engine.
        pictures: Images of the last run, by key.
        latents: Their latents.
    """

    engine: DiffusionEngine
    pictures: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    latents: dict[str, Tensor] = field(default_factory=dict)

    def pieces(self, work: Work) -> Pieces:
        """Generate images; kinds are ``prepare``, ``tick`` and ``decode``."""
        generator = work.generator_with_empty_cache()
        for canvas in build_canvases(generator, work.requests):
            self.engine.submit(canvas)
        yield "prepare"
        self.latents, self.pictures = {}, {}
        while not self.engine.idle:
            self._tick()
            yield "tick"
        keys = list(self.latents)
        batch = work.spec.engine.codec_batch if generator.bundle.unet.device.type == "cpu" else len(keys)
        for part in (keys[i : i + batch] for i in range(0, len(keys), batch)):
            decoded = generator.codec.decode([self.latents[key] for key in part])
            self.pictures.update(zip(part, decoded, strict=True))
            yield "decode"

    def _tick(self) -> None:
        for outcome in self.engine.tick():
            if not isinstance(outcome, Finished):
                raise outcome.error
            self.latents[outcome.key] = outcome.latents


@dataclass(frozen=True, slots=True, eq=False)
class NetworkContestant:
    """Bare network calls on inputs prepared in advance: no gathering, no solver, no copies."""

    text: Callable[[], object]
    encode: Callable[[], object]
    control: Callable[[], object]
    unet: Callable[[], object]
    decode: Callable[[], object]

    @classmethod
    @torch.no_grad()
    def of(cls, work: Work) -> NetworkContestant:
        """Prepare inputs of exactly the engine's shapes."""
        inputs, bundle, compiled = _Inputs(work), work.generator.bundle, work.spec.engine.compile
        unet = UNetDenoiser(bundle.unet, compiled=compiled)
        assert bundle.control is not None
        control = ControlBranch(bundle.control, compiled=compiled)
        decoder = bundle.vae if bundle.tiny_decoder is None else bundle.tiny_decoder
        decode = torch.compile(decoder.decode, dynamic=False) if compiled else decoder.decode
        slots, control_slots = work.spec.engine.slots, work.spec.control_slots
        rows, control_rows = inputs.rows(slots), inputs.rows(control_slots)
        latents = inputs.latents(work.spec.engine.codec_batch)
        residuals = [r.repeat(-(-slots // control_slots), 1, 1, 1)[:slots] for r in control(*control_rows)]
        pixels, tokens = inputs.pixels(), inputs.tokens()
        return cls(
            text=lambda: bundle.text_encoder(tokens),
            encode=lambda: bundle.vae.encode(pixels, return_dict=False),
            control=lambda: control(*control_rows),
            unet=lambda: unet(*rows, residuals),
            decode=lambda: decode(latents, return_dict=False),
        )

    @torch.no_grad()
    def pieces(self, work: Work) -> Pieces:
        """Call every network as often as the engine does; kinds are the networks' names."""
        for kind in self._calls(work):
            getattr(self, kind)()
            yield kind

    def _calls(self, work: Work) -> Iterator[str]:
        yield from ["text"] * work.records
        batch = work.spec.engine.codec_batch
        yield from ["encode"] * -(-work.records // batch)
        yield from ["control", "unet"] * work.ticks
        yield from ["decode"] * -(-len(work.requests) // batch)


class _Inputs:
    """Random inputs in the networks' shapes, precision and memory format."""

    def __init__(self, work: Work) -> None:
        self._work, unet = work, work.generator.bundle.unet
        self._like = {"device": unet.device, "dtype": unet.dtype}

    def rows(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Latents, timesteps and prompt embeddings of ``count`` rows."""
        times = torch.full((count,), 500.0, device=self._like["device"])
        return self.latents(count), times, torch.randn(count, *self._work.generator.prompts.shape, **self._like)

    def latents(self, count: int) -> Tensor:
        edge = self._work.latent_size
        return _channels_last(torch.randn(count, 4, edge, edge, **self._like))

    def pixels(self) -> Tensor:
        batch, edge = self._work.spec.engine.codec_batch, self._work.spec.conditions.edge
        return _channels_last(torch.rand(batch, 3, edge, edge, **self._like))

    def tokens(self) -> Tensor:
        length = int(self._work.generator.bundle.tokenizer.model_max_length)
        return torch.ones(1, length, device=self._like["device"], dtype=torch.long)


def _channels_last(batch: Tensor) -> Tensor:
    return batch.contiguous(memory_format=torch.channels_last)
