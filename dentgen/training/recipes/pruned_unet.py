"""Recipe ``pruned-unet``: a UNet with fewer layers, taught by the one that it is taken from, with control attached.

The first step towards SDXS (Song et al. 2024, https://arxiv.org/abs/2403.16627, section 3.2): blocks are removed, and
the student's predictions and the outputs of its blocks are held close to the teacher's. A few-step LoRA on top of it is
the second step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor, nn

from dentgen.errors import SpecError
from dentgen.models.bundle import find_bundle, parts_digest
from dentgen.models.parts import load_unet
from dentgen.models.pruning import Pruning, pruned_unet
from dentgen.spec.train_students import PrunedUnetSpec
from dentgen.training.bundle_fingerprint import frozen_parts
from dentgen.training.data.rows import Batch
from dentgen.training.export import save_network
from dentgen.training.frozen_networks import Unregistered, check_size, freeze
from dentgen.training.lora_student import ControlledNetworks
from dentgen.training.losses import noise_loss, snr_weights
from dentgen.training.noising import Noised
from dentgen.training.preview import predict_noise
from dentgen.training.recipes.recipe import Recipe


class PrunedUnetRecipe(Recipe):
    """Trains ``bundle/unet``."""

    def __init__(self, spec: PrunedUnetSpec, device: torch.device) -> None:
        """Take from the teacher what stays of it.

        Raises:
            BundleError: If a bundle lacks a part.
            SpecError: If the teacher's other parts are not those of the bundle, or it has less than what shall stay.
        """
        super().__init__()
        self._spec = spec
        _require_equal_parts(spec)
        self._networks = ControlledNetworks(spec, device)
        check_size(spec, spec.teacher)
        teacher = load_unet(find_bundle(spec.teacher) / "unet", torch.float32)
        student = pruned_unet(teacher, Pruning(spec.layers, spec.middle, spec.attention))
        self._teacher = Unregistered(freeze(teacher, device))
        self.student = nn.Module.to(student.requires_grad_(True).train(), device)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Distance from the teacher's prediction, min-SNR weighted, and from the outputs of its blocks."""
        networks = self._networks
        noised = networks.noising.noised(batch, networks.autoencoder.pictures(batch))
        embeds = networks.text(networks.noising.prompts(batch))
        residuals = networks.residuals(networks.condition(batch), noised.timesteps, embeds)
        with torch.no_grad():
            wanted, wanted_blocks = _prediction(self._teacher.net, noised, embeds, residuals)
        found, blocks = _prediction(self.student, noised, embeds, residuals)
        features = torch.stack([_relative_error(blocks[name], wanted_blocks[name]) for name in blocks]).mean()
        rows = snr_weights(networks.noising.alphas_cumprod, noised.timesteps)
        loss = noise_loss(found, wanted, rows) + self._spec.features * features
        return {"loss": loss, "mse": (found - wanted).square().mean().detach(), "features": features.detach()}

    def export(self) -> None:
        """Write the UNet, weights in fp16."""
        save_network(self.student, Path(self._spec.bundle) / "unet")

    @torch.no_grad()
    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Image, control image, generated image."""
        return self._networks.preview(batch, self.student)


def _require_equal_parts(spec: PrunedUnetSpec) -> None:
    """The student learns from what the teacher makes of the same latents, words and residuals, and replaces it not."""
    teacher = find_bundle(spec.teacher)
    if teacher.resolve() == Path(spec.bundle).resolve():
        raise SpecError(key="teacher", found=spec.teacher, expected="another bundle than the one that is trained")
    for part in frozen_parts(spec):
        if parts_digest(teacher, [part]) != parts_digest(Path(spec.bundle), [part]):
            raise SpecError(
                file=str(spec.bundle), key="bundle", found=f"another {part} than in {teacher}",
                expected="the teacher's", advice=f"begin with a copy: cp -r {teacher} {spec.bundle}",
            )  # fmt: skip


def _prediction(
    unet: UNet2DConditionModel, noised: Noised, embeds: Tensor, residuals: list[Tensor] | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """A noise prediction, and the outputs of all blocks on the way by name."""
    with _recorded(unet) as outputs:
        return predict_noise(unet, noised.latents, noised.timesteps, embeds, residuals), outputs


@contextmanager
def _recorded(unet: UNet2DConditionModel) -> Iterator[dict[str, Tensor]]:
    """Outputs of the blocks that run within, by name; blocks that the student has lost have none in it."""
    outputs: dict[str, Tensor] = {}

    def hook(name: str) -> object:
        def keep(module: nn.Module, inputs: object, output: Tensor | tuple[Tensor, object]) -> None:
            outputs[name] = output[0] if isinstance(output, tuple) else output

        return keep

    blocks = {f"{way} {n}": block for way in ("down", "up") for n, block in enumerate(getattr(unet, f"{way}_blocks"))}
    if unet.mid_block is not None:
        blocks["middle"] = unet.mid_block
    handles = [block.register_forward_hook(hook(name)) for name, block in blocks.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _relative_error(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean over rows of the squared error over the square of what is wanted: blocks differ in their scale by orders."""
    error, energy = ((found - wanted).square().flatten(1).mean(1), wanted.square().flatten(1).mean(1))
    return (error / energy).mean()
