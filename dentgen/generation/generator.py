"""Models and solver for one spec: what a process holds to generate images."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from dentgen.diffusion.networks import LATENT_CHANNELS, MASK_CHANNELS
from dentgen.diffusion.solver import SolverTable, probe_solver
from dentgen.diffusion.step_window import in_window
from dentgen.diffusion.window_grid import fitted
from dentgen.diffusion.windows import Window, cover
from dentgen.errors import BuildError, ConditionError, SpecError
from dentgen.models.autoencoder import LatentCodec
from dentgen.models.bundle import BASE, Bundle, load_bundle
from dentgen.models.native_size import with_size
from dentgen.models.schedulers import make_scheduler
from dentgen.models.text import PromptEncoder
from dentgen.models.trained_sampling import check_trained_sampling
from dentgen.records import ConditionName
from dentgen.spec.build import BuildSpec
from dentgen.spec.model import Scale
from dentgen.spec.sampling import CELL

if TYPE_CHECKING:
    from dentgen.generation.gate import Gate
    from dentgen.shards.plan import Plan  # imports pyarrow, which the engine's benchmark must not need

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Generator:
    """Everything a process needs to generate images of one spec.

    Attributes:
        spec: Model, conditions, sampling and engine settings; source and output are not read.
        bundle: Loaded networks.
        prompts: Prompt encoder with its cache.
        codec: Autoencoder and decoder, in fixed-size batches.
        table: The spec's scheduler as a solver table.
        routes: Control branches.
        windows: Parts of a picture that the UNet sees at once; none: whole pictures.
        gate: Judges of finished pictures; None without a gate.
    """

    spec: BuildSpec
    bundle: Bundle
    prompts: PromptEncoder
    codec: LatentCodec
    table: SolverTable
    routes: tuple[ControlRoute, ...]
    windows: tuple[Window, ...] = ()
    gate: Gate | None = None

    @property
    def deepest_cell(self) -> int:
        """Edge of a cell of the UNet's deepest level, latents."""
        return 1 << (len(self.bundle.unet.config["block_out_channels"]) - 1)


@dataclass(frozen=True, slots=True)
class ControlRoute:
    """How conditions reach the UNet: as one control image through one control branch.

    Attributes:
        branch: Name of the branch.
        network: Adapter, ControlNet or the bare base that runs there.
        use: Conditions of its control image.
        scale: Factor on its residuals.
        by_class: Further factors by class of the segmentation, 1 for others; None for the same everywhere.
    """

    branch: str
    network: str
    use: tuple[ConditionName, ...]
    scale: float
    by_class: Mapping[str, float] | None = None


def control_routes(spec: BuildSpec) -> tuple[ControlRoute, ...]:
    """Every control branch that a spec asks for."""
    named, use = {**spec.model.adapters, **spec.model.controlnets}, spec.conditions.use
    if spec.conditions.combine == "sum":
        return tuple(_route(c, c if c in named else BASE, (c,), named.get(c, 1.0)) for c in use)
    # sorted: the digest does not tell orders of a mapping apart, but sums of three residuals would
    return tuple(_route(name, name, use, scale) for name, scale in sorted((named or {BASE: 1.0}).items()))


def _route(branch: str, network: str, use: tuple[ConditionName, ...], scale: Scale) -> ControlRoute:
    if isinstance(scale, dict):
        return ControlRoute(branch, network, use, 1.0, scale)
    return ControlRoute(branch, network, use, scale)


def device_and_dtype(spec: BuildSpec) -> tuple[str, str]:
    """Device kind ("cpu" or "cuda") and precision of the networks on this machine."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    auto = "float16" if device == "cuda" else "float32"
    return device, auto if spec.engine.dtype == "auto" else spec.engine.dtype


def load_generator(spec: BuildSpec) -> Generator:
    """Load a spec's models, on the GPU if there is one.

    Raises:
        BundleError: If the bundle cannot be loaded.
        SpecError: If the bundle cannot do what the spec asks.
    """
    device, dtype = device_and_dtype(spec)
    return build_generator(with_size(spec), load_bundle(spec.model, device=device, dtype=getattr(torch, dtype)))


def load_planned_generator(plan: Plan, loaded: Bundle | None = None) -> Generator:
    """Load the models of a plan.

    Args:
        plan: The plan.
        loaded: Networks that are loaded already, with the same settings; taken if they are those of the plan.

    Raises:
        BuildError: If the bundle or the judges found here are not those that the build was planned with.
        SpecError: If the bundle cannot do what the spec asks.
    """
    model, environment = plan.spec.model, plan.environment
    bundle = loaded
    if bundle is None or bundle.digest != plan.bundle_digest:
        bundle = load_bundle(model, device=environment["device"], dtype=getattr(torch, environment["dtype"]))
    if bundle.digest != plan.bundle_digest:
        raise BuildError(
            file=f"bundle {model.bundle}",
            found=f"digest {bundle.digest} here",
            expected=f"{plan.bundle_digest}, as planned",
        )
    generator, gate = build_generator(plan.spec, bundle), plan.spec.quality.gate
    if gate is None or plan.gate is None:
        return generator
    from dentgen.generation.gate import load_gate  # judges need libraries that the engine's benchmark must not need

    return replace(generator, gate=load_gate(gate, plan.gate, environment["device"]))


def build_generator(spec: BuildSpec, bundle: Bundle) -> Generator:
    """Combine a spec, whose picture size is resolved, with loaded networks.

    Raises:
        SpecError: If the bundle cannot do what the spec asks.
    """
    if spec.sampling.upscale is not None:
        raise SpecError(
            key="sampling.upscale", found=spec.sampling.upscale, expected="null where no source is planned",
            advice="name conditions.size, sampling.window, start_from and strength",
        )  # fmt: skip
    codec = LatentCodec(
        bundle.vae, spec.engine.codec_batch,
        decoder=bundle.tiny_decoder, tile=spec.model.decode_tile, encode_tile=spec.model.encode_tile,
        compiled=spec.engine.compile,
    )  # fmt: skip
    generator = Generator(
        spec=spec,
        bundle=bundle,
        prompts=prompt_encoder(spec, bundle),
        codec=codec,
        table=solver_table(spec, bundle.folder),
        routes=control_routes(spec),
        windows=_windows(spec, codec.downscale),
    )
    _check_control(generator)
    _check_mask(generator)
    _check_centre(generator)
    _check_prompts(generator)
    return generator


def _windows(spec: BuildSpec, cell: int) -> tuple[Window, ...]:
    """The spec's windows on the grid of latents."""
    edge = spec.sampling.window
    if edge is not None and cell != CELL:
        raise SpecError(key="sampling.window", found=f"latents of {cell} pixels", expected=f"latents of {CELL} pixels")
    if edge is None or fitted(spec.conditions.shape, edge) == spec.conditions.shape:
        return ()
    height, width = spec.conditions.shape
    latents = (height // cell, width // cell)
    return cover(latents, fitted(latents, edge // cell), spec.sampling.window_overlap)


def _check_control(generator: Generator) -> None:
    """Require that some condition decides the image."""
    spec, bundle, steps = generator.spec, generator.bundle, generator.table.num_steps
    available = {**bundle.shared, **bundle.full}
    missing = [route.network for route in generator.routes if route.network not in available]
    if missing:
        raise SpecError(
            file=f"bundle {bundle.name}", key="conditions.use", found=f"no control net {missing}",
            expected=f"one of {sorted(available)}" if available else "a control net in the bundle",
        )  # fmt: skip
    window = (spec.conditions.control_start, spec.conditions.control_end)
    if not any(in_window(window, step, steps) for step in range(steps)):
        raise SpecError(
            key="conditions.control_start, control_end",
            found=f"the window {list(window)}",
            expected=f"a window that contains one of the {steps} denoising steps",
        )


def _check_centre(generator: Generator) -> None:
    """Require whole cells of the UNet's deepest level, by which regions move to the centre."""
    spec, cells = generator.spec, generator.deepest_cell
    edges = [edge // generator.codec.downscale for edge in spec.conditions.shape]
    edges += [spec.sampling.window // generator.codec.downscale] if spec.sampling.window else []
    if spec.regions.centre and spec.regions.bootstrap_steps and any(edge % cells for edge in edges):
        multiple = cells * generator.codec.downscale
        found, expected = list(spec.conditions.shape), f"multiples of {multiple} pixels, because of regions.centre"
        raise SpecError(key="conditions.size", found=found, expected=expected)


def _check_mask(generator: Generator) -> None:
    """Require a UNet whose input channels are what the spec provides."""
    sampling, channels = generator.spec.sampling, int(generator.bundle.unet.config["in_channels"])
    file = f"bundle {generator.bundle.name}"
    if channels not in {LATENT_CHANNELS, LATENT_CHANNELS + MASK_CHANNELS}:
        raise SpecError(file=file, key="unet", found=f"{channels} input channels", expected="4 or 9")
    if channels > LATENT_CHANNELS and not sampling.repaint:
        raise SpecError(
            file=file, key="sampling.repaint", found="none",
            expected="classes to repaint: the bundle's UNet is an inpainting UNet",
        )  # fmt: skip


def _check_prompts(generator: Generator) -> None:
    """Reject prompts of the spec that are too long, before every record fails on them."""
    sampling = generator.spec.sampling
    prompts = {"sampling.negative_prompt": sampling.negative_prompt, "sampling.prompt_to": sampling.prompt_to}
    for n, finding in enumerate(generator.spec.findings):
        prompts |= {f"findings.{n}.prompt": finding.prompt, f"findings.{n}.negative_prompt": finding.negative_prompt}
    prompts |= {f"variants.prompts.{n}": prompt for n, prompt in enumerate(generator.spec.variants.prompts)}
    for key, prompt in prompts.items():
        try:
            generator.prompts.embed(prompt or "")
        except ConditionError as error:
            raise SpecError(key=key, found=error.found, expected=error.expected) from error


def prompt_encoder(spec: BuildSpec, bundle: Bundle) -> PromptEncoder:
    """A prompt encoder with an empty cache."""
    long_prompts, chunks = spec.sampling.long_prompts, spec.sampling.prompt_chunks
    return PromptEncoder(
        bundle.tokenizer, bundle.text_encoder, long_prompts=long_prompts, chunks=chunks, words=bundle.words
    )


def solver_table(spec: BuildSpec, folder: Path) -> SolverTable:
    """The spec's scheduler as a solver table, on the noise schedule of the bundle.

    Raises:
        SpecError: If there is no such scheduler, or one of the spec's LoRAs was trained for other steps.
        SolverError: If it has no table.
        BundleError: If a LoRA is missing or its header cannot be read.
    """
    sampling = spec.sampling
    table = probe_solver(
        make_scheduler(sampling.scheduler, folder, sampling.scheduler_options),
        sampling.steps,
        strength=sampling.strength,
        timesteps=sampling.timesteps,
    )
    check_trained_sampling(spec.model.loras, folder, sampling, table.timesteps.tolist())
    return table
