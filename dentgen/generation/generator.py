"""What a process holds to make units of one plan: models, solver, and an engine of the plan's shape.

Refuses to know records.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from dentgen.diffusion.canvas import in_window
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.diffusion.networks import LATENT_CHANNELS, MASK_CHANNELS, Branches, EngineShape
from dentgen.diffusion.solver import SolverTable, probe_solver
from dentgen.errors import BuildError, ConditionError, OutOfMemoryError
from dentgen.generation.memory import free_buffers_at_once, free_memory
from dentgen.models.autoencoder import LatentCodec
from dentgen.models.bundle import BASE, Bundle, load_chosen
from dentgen.models.networks import ControlBranch, ControlNetBranch, UNetDenoiser
from dentgen.models.schedulers import make_scheduler
from dentgen.models.text import PromptEncoder
from dentgen.records import ConditionName
from dentgen.shards.plan import Plan
from dentgen.spec.build import BuildSpec

_LOG = logging.getLogger(__name__)

CODEC_BATCH: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class Generator:
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


def load_generator(plan: Plan) -> Generator:
    """Load the models that a plan names, with its threads and precision.

    Raises:
        BuildError: If the bundle found here is not the one that was planned with, or cannot do what the spec asks.
    """
    spec = BuildSpec.model_validate(plan.spec)
    torch.set_num_threads(spec.engine.threads)
    environment = plan.environment
    bundle = load_chosen(spec.model, device=environment["device"], dtype=getattr(torch, environment["dtype"]))
    if bundle.digest != plan.bundle_digest:
        raise BuildError(
            f"bundle {spec.model.bundle}: found digest {bundle.digest} here, expected {plan.bundle_digest} as planned"
        )
    return build_generator(plan, spec, bundle)


def build_generator(plan: Plan, spec: BuildSpec, bundle: Bundle) -> Generator:
    """Put together what makes units, on loaded models.

    Raises:
        BuildError: If the bundle cannot do what the spec asks.
    """
    generator = Generator(
        plan=plan,
        spec=spec,
        bundle=bundle,
        prompts=prompt_encoder(spec, bundle),
        codec=LatentCodec(
            bundle.vae,
            CODEC_BATCH,
            decoder=bundle.tiny_decoder,
            tile=spec.model.decode_tile,
            compiled=spec.engine.compile,
        ),
        table=solver_table(spec, bundle.folder),
        routes=control_routes(spec),
    )
    _check_control(generator)
    _check_mask(generator)
    _check_prompts(generator)
    return generator


def _check_control(generator: Generator) -> None:
    """Refuse to make pictures that no condition decides."""
    spec, bundle, steps = generator.spec, generator.bundle, generator.table.num_steps
    missing = [route.network for route in generator.routes if route.network not in {**bundle.shared, **bundle.full}]
    if missing:
        raise BuildError(f"bundle {bundle.name}: found no control net {missing}, expected one for conditions.use")
    window = (spec.conditions.control_start, spec.conditions.control_end)
    if not any(in_window(window, step, steps) for step in range(steps)):
        raise BuildError(
            f"conditions.control_start, control_end: found {window}, expected one of {steps} steps between"
        )


def _check_mask(generator: Generator) -> None:
    """Refuse a UNet whose inputs are not what the spec gives it."""
    sampling, channels = generator.spec.sampling, int(generator.bundle.unet.config["in_channels"])
    if channels not in {LATENT_CHANNELS, LATENT_CHANNELS + MASK_CHANNELS}:
        raise BuildError(f"bundle {generator.bundle.name}: found a UNet of {channels} channels, expected 4 or 9")
    if channels > LATENT_CHANNELS and not sampling.repaint:
        raise BuildError(
            f"bundle {generator.bundle.name}: the UNet wants mask and masked picture, expected sampling.repaint"
        )


def _check_prompts(generator: Generator) -> None:
    """Refuse prompts that stand in the spec and are too long, before every record fails on them."""
    sampling = generator.spec.sampling
    for key, prompt in (("negative_prompt", sampling.negative_prompt), ("prompt_to", sampling.prompt_to)):
        try:
            generator.prompts.embed(prompt or "")
        except ConditionError as error:
            raise BuildError(f"sampling.{key}: {error}") from error


def prompt_encoder(spec: BuildSpec, bundle: Bundle) -> PromptEncoder:
    """A prompt encoder that remembers nothing yet."""
    long_prompts, chunks = spec.sampling.long_prompts, spec.sampling.prompt_chunks
    return PromptEncoder(
        bundle.tokenizer, bundle.text_encoder, long_prompts=long_prompts, chunks=chunks, words=bundle.words
    )


def start_engine(generator: Generator) -> DiffusionEngine:
    """An engine of the plan's shape on the generation's networks, warmed up, and the decoder with it.

    Raises:
        OutOfMemoryError: If the plan's slots do not fit into the device's memory; the message names a number that does.
    """
    slots = generator.spec.engine.slots
    try:
        return _warm_engine(generator, slots, generator.spec.control_slots)
    except OutOfMemoryError as error:
        failure = str(error)  # the error itself holds what did not fit, and is let go of before anything else is tried
    fits = _fitting_slots(generator, slots)
    advice = f"{fits} slots fit; set engine.slots" if fits else "no number of slots fits"
    raise OutOfMemoryError(f"{failure}: {advice} (another number of slots is another dataset)")


def build_engine(generator: Generator, slots: int, control_slots: int) -> DiffusionEngine:
    """An engine of another shape, for measurements; not yet warmed up."""
    spec, bundle = generator.spec, generator.bundle
    tokens, width = generator.prompts.shape
    latent_size = spec.conditions.size // generator.codec.downscale
    shape = EngineShape(
        slots=slots,
        control_slots=control_slots,
        latent_size=latent_size,
        tokens=tokens,
        width=width,
        columns=generator.table.num_columns,
        mask_channels=int(bundle.unet.config["in_channels"]) - LATENT_CHANNELS,
    )
    return DiffusionEngine(
        UNetDenoiser(bundle.unet, compiled=spec.engine.compile),
        _branches(generator, latent_size),
        shape,
        bundle.unet.device,
        bundle.unet.dtype,
        steady=spec.engine.compile,
        cuda_graph=spec.engine.cuda_graph,
    )


def solver_table(spec: BuildSpec, folder: Path) -> SolverTable:
    """The spec's solver, on the noise schedule of a bundle's folder.

    Raises:
        SpecError: If there is no such scheduler.
        SolverError: If it has no table.
    """
    sampling = spec.sampling
    return probe_solver(
        make_scheduler(sampling.scheduler, folder, sampling.scheduler_options),
        sampling.steps,
        strength=sampling.strength,
        timesteps=sampling.timesteps,
    )


def _branches(generator: Generator, latent_size: int) -> Branches:
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
    generator.codec.warm_up(engine.shape.latent_size)
    _LOG.info("engine of %d slots warmed up in %.1f s", slots, seconds)
    return engine


def _fitting_slots(generator: Generator, slots: int) -> int:
    """The largest half, quarter and so on of the slots that fits and holds a canvas; 0 if none does."""
    free_buffers_at_once()
    while slots // 2 >= generator.spec.sampling.first_rows:
        slots //= 2
        free_memory()
        try:
            _warm_engine(generator, slots, generator.spec.control_slots_for(slots))
        except OutOfMemoryError:
            continue
        return slots
    return 0
