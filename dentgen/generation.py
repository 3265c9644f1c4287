"""What a process holds to make units of one plan: models, solver, and an engine of the plan's shape.

Refuses to know records.
"""

from __future__ import annotations

import gc
import logging
from dataclasses import dataclass
from typing import Final

import torch

from dentgen.diffusion.engine import DiffusionEngine
from dentgen.diffusion.networks import LATENT_CHANNELS, Branches, EngineShape
from dentgen.diffusion.solver import SolverTable, probe_solver
from dentgen.errors import BuildError, OutOfMemoryError
from dentgen.models.autoencoder import LatentCodec
from dentgen.models.bundle import BASE, Bundle, load_bundle
from dentgen.models.networks import ControlBranch, ControlNetBranch, UNetDenoiser
from dentgen.models.schedulers import make_scheduler
from dentgen.models.text import PromptEncoder
from dentgen.records import ConditionName, Plan
from dentgen.spec import BuildSpec

_LOG = logging.getLogger(__name__)

CODEC_BATCH: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """Everything a process needs to generate units of one plan."""

    plan: Plan
    spec: BuildSpec
    bundle: Bundle
    prompts: PromptEncoder
    codec: LatentCodec
    table: SolverTable
    routes: tuple[ControlRoute, ...]


@dataclass(frozen=True, slots=True)
class ControlRoute:
    """How conditions reach the UNet: as one control image through one control branch.

    Attributes:
        branch: Name of the branch.
        network: Adapter, ControlNet or the bare base that runs there.
        use: Conditions of its control image.
        scale: Factor on its residuals.
    """

    branch: str
    network: str
    use: tuple[ConditionName, ...]
    scale: float


def control_routes(spec: BuildSpec) -> tuple[ControlRoute, ...]:
    """Every control branch that a spec asks for."""
    named, use = {**spec.model.adapters, **spec.model.controlnets}, spec.conditions.use
    if spec.conditions.combine == "sum":
        return tuple(ControlRoute(c, c if c in named else BASE, (c,), named.get(c, 1.0)) for c in use)
    return tuple(ControlRoute(name, name, use, scale) for name, scale in (named or {BASE: 1.0}).items())


def start_generation(plan: Plan) -> Generation:
    """Load the models that a plan names, with its threads and precision.

    Raises:
        BuildError: If the bundle found here is not the one that was planned with, or cannot do what the spec asks.
    """
    spec = BuildSpec.model_validate(plan.spec)
    torch.set_num_threads(spec.engine.threads)
    bundle = load_bundle(
        spec.model.bundle,
        spec.model.adapters,
        controlnets=tuple(spec.model.controlnets),
        decoder=spec.model.decoder,
        device=plan.environment["device"],
        dtype=getattr(torch, plan.environment["dtype"]),
    )
    if bundle.digest != plan.bundle_digest:
        raise BuildError(
            f"bundle {spec.model.bundle}: found digest {bundle.digest} here, expected {plan.bundle_digest} as planned"
        )
    return generation_of(plan, spec, bundle)


def generation_of(plan: Plan, spec: BuildSpec, bundle: Bundle) -> Generation:
    """Put together what makes units, on loaded models."""
    return Generation(
        plan=plan,
        spec=spec,
        bundle=bundle,
        prompts=prompts_of(spec, bundle),
        codec=LatentCodec(
            bundle.vae,
            CODEC_BATCH,
            decoder=bundle.tiny_decoder,
            tile=spec.model.decode_tile,
            compiled=spec.engine.compile,
        ),
        table=_solver(spec, bundle),
        routes=control_routes(spec) if bundle.shared or bundle.full else (),
    )


def prompts_of(spec: BuildSpec, bundle: Bundle) -> PromptEncoder:
    """A prompt encoder that remembers nothing yet."""
    long_prompts, chunks = spec.sampling.long_prompts, spec.sampling.prompt_chunks
    return PromptEncoder(bundle.tokenizer, bundle.text_encoder, long_prompts=long_prompts, chunks=chunks)


def make_engine(generation: Generation) -> DiffusionEngine:
    """An engine of the plan's shape on the generation's networks, warmed up.

    Raises:
        OutOfMemoryError: If the plan's slots do not fit into the device's memory; the message names a number that does.
    """
    slots = generation.spec.engine.slots
    try:
        return _warm_engine(generation, slots)
    except OutOfMemoryError as error:
        failure = str(error)  # the error itself holds what did not fit, and is let go of before anything else is tried
    fits = _fitting_slots(generation, slots)
    advice = f"{fits} fit; set engine.slots" if fits else "not even one fits"
    raise OutOfMemoryError(f"{failure}: {advice} (another number of slots is another dataset)")


def engine_of(generation: Generation, slots: int, control_slots: int) -> DiffusionEngine:
    """An engine of another shape, for measurements; not yet warmed up."""
    spec, bundle = generation.spec, generation.bundle
    tokens, width = generation.prompts.shape
    latent_size = spec.conditions.size // generation.codec.downscale
    shape = EngineShape(
        slots=slots,
        control_slots=control_slots,
        latent_size=latent_size,
        tokens=tokens,
        width=width,
        columns=generation.table.num_columns,
        mask_channels=int(bundle.unet.config["in_channels"]) - LATENT_CHANNELS,
    )
    return DiffusionEngine(
        UNetDenoiser(bundle.unet, compiled=spec.engine.compile),
        _branches(generation, latent_size),
        shape,
        bundle.unet.device,
        bundle.unet.dtype,
        steady=spec.engine.compile,
        cuda_graph=spec.engine.cuda_graph,
    )


def _solver(spec: BuildSpec, bundle: Bundle) -> SolverTable:
    sampling = spec.sampling
    return probe_solver(
        make_scheduler(sampling.scheduler, bundle.folder, sampling.scheduler_options),
        sampling.steps,
        strength=sampling.strength,
        timesteps=sampling.timesteps,
    )


def _branches(generation: Generation, latent_size: int) -> Branches:
    compiled, bundle = generation.spec.engine.compile, generation.bundle
    return Branches(
        shared={
            route.branch: ControlBranch(bundle.shared[route.network], compiled=compiled)
            for route in generation.routes
            if route.network in bundle.shared
        },
        per_row={
            route.branch: ControlNetBranch(bundle.full[route.network], latent_size, compiled=compiled)
            for route in generation.routes
            if route.network in bundle.full
        },
    )


def _warm_engine(generation: Generation, slots: int) -> DiffusionEngine:
    planned = generation.spec.engine.slots
    engine = engine_of(generation, slots, max(1, generation.spec.control_slots * slots // planned))
    _LOG.info("engine of %d slots warmed up in %.1f s", slots, engine.warm_up())
    return engine


def free_memory() -> None:
    """Give back what former engines held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _fitting_slots(generation: Generation, slots: int) -> int:
    """The largest half, quarter and so on of the slots that fits; 0 if none does."""
    while slots > 1:
        slots //= 2
        free_memory()
        try:
            _warm_engine(generation, slots)
        except OutOfMemoryError:
            continue
        return slots
    return 0
