"""Engines for loaded models: of the spec's shape, or of one that the caller names."""

from __future__ import annotations

import logging

from dentgen.diffusion.engine import DiffusionEngine
from dentgen.diffusion.network_batches import DenoiserInBatches, branches_in_batches
from dentgen.diffusion.networks import LATENT_CHANNELS, Branches, Denoiser, EngineShape
from dentgen.errors import OutOfMemoryError
from dentgen.generation.generator import Generator
from dentgen.generation.memory import free_buffers_at_once, free_memory
from dentgen.models.networks import ControlBranch, ControlNetBranch, UNetDenoiser

_LOG = logging.getLogger(__name__)


def start_engine(generator: Generator) -> DiffusionEngine:
    """A warmed-up engine of the spec's shape; the decoder is warmed up as well.

    Raises:
        OutOfMemoryError: If the spec's slots do not fit into the device's memory; ``advice`` names a number that does.
    """
    slots = generator.spec.engine.slots
    try:
        return _warm_engine(generator, slots, generator.spec.control_slots)
    except OutOfMemoryError as error:
        failure = error.message  # the error holds what did not fit: release it before the next try
    fits = _fitting_slots(generator, slots)
    raise OutOfMemoryError(
        failure, key="engine.slots", found=slots, expected=f"at most {fits}" if fits else "fewer, but none fit",
        advice="another number of slots gives another dataset",
    )  # fmt: skip


def build_engine(generator: Generator, slots: int, control_slots: int, regions: int | None = None) -> DiffusionEngine:
    """An engine that is not warmed up.

    Args:
        generator: Models and settings.
        slots: Row slots.
        control_slots: Control slots.
        regions: Regions that a canvas may have; None: as many as the spec's findings need.
    """
    spec, bundle = generator.spec, generator.bundle
    tokens, prompt_width = generator.prompts.shape
    height, width = (edge // generator.codec.downscale for edge in spec.conditions.shape)
    width *= spec.sampling.frames
    shape = EngineShape(
        slots=slots,
        control_slots=control_slots,
        latent_size=(height, width),
        tokens=tokens,
        width=prompt_width,
        columns=generator.table.num_columns,
        mask_channels=int(bundle.unet.config["in_channels"]) - LATENT_CHANNELS,
        weighted=any(route.by_class is not None for route in generator.routes),
        regions=spec.max_regions if regions is None else regions,
        centred=spec.regions.centre and spec.regions.bootstrap_steps > 0,
        window=(*generator.windows[0].weight.shape,) if generator.windows else None,
        windows=max(1, len(generator.windows)),
        canvases=max(1, slots // len(generator.windows)) if generator.windows else None,  # each has a row per window
    )
    unet: Denoiser = UNetDenoiser(bundle.unet, compiled=spec.engine.compile)
    branches = _branches(generator, shape.latent_size)
    if spec.engine.unet_batch is not None:
        unet = DenoiserInBatches(unet, spec.engine.unet_batch)
        branches = branches_in_batches(branches, spec.engine.unet_batch)
    return DiffusionEngine(
        unet,
        branches,
        shape,
        bundle.unet.device,
        bundle.unet.dtype,
        steady=spec.engine.compile,
        cuda_graph=spec.engine.cuda_graph,
    )


def _branches(generator: Generator, latent_size: tuple[int, int]) -> Branches:
    compiled, bundle = generator.spec.engine.compile, generator.bundle
    return Branches(
        shared={
            route.branch: ControlBranch(bundle.shared[route.network], compiled=compiled)
            for route in generator.routes
            if route.network in bundle.shared
        },
        per_row={
            route.branch: ControlNetBranch(bundle.full[route.network], latent_size, compiled=compiled)
            for route in generator.routes
            if route.network in bundle.full
        },
    )


def _warm_engine(generator: Generator, slots: int, control_slots: int) -> DiffusionEngine:
    engine = build_engine(generator, slots, control_slots)
    seconds = engine.warm_up()
    height, width = engine.shape.latent_size
    generator.codec.warm_up((height, width // generator.spec.sampling.frames))
    _LOG.info("engine of %d slots warmed up in %.1f s", slots, seconds)
    return engine


def _fitting_slots(generator: Generator, slots: int) -> int:
    """The largest of half, a quarter, ... of the slots that fits and holds a canvas; 0 if none does."""
    free_buffers_at_once()
    while slots // 2 >= generator.spec.first_rows:
        slots //= 2
        free_memory()
        try:
            _warm_engine(generator, slots, generator.spec.control_slots_for(slots))
        except OutOfMemoryError:
            continue
        return slots
    return 0
