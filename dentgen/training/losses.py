"""Losses that recipes minimise, as functions of tensors."""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, distributed
from torch.nn import functional as F

from dentgen.conditions.labels import GINGIVA, TOOTH
from dentgen.models.imagenet import ImageNetEncoder
from dentgen.spec.train_sections import LossSpec, PixelWeights

_BOUNDARY_PIXELS: Final = 2
_COLOUR_PIXELS: Final = 4
#: Frequency bands of fine detail, cycles per pixel: wavelengths of 8 to 4 pixels, and below 4.
_BANDS: Final = ((1 / 8, 1 / 4), (1 / 4, 1.0))
#: Resolutions whose features are compared: 1/2, 1/4 and 1/8.
_PERCEPTUAL_DEPTH: Final = 3
_MIN_ENERGY: Final = 1e-7


def reconstruction_loss(decoded: Tensor, images: Tensor) -> Tensor:
    """L1 loss of pixels plus L1 loss of their horizontal and vertical differences, which keeps edges sharp.

    Args:
        decoded: (b, 3, h, w) in [-1, 1].
        images: (b, 3, h, w) in [-1, 1].
    """
    loss = F.l1_loss(decoded, images)
    for axis in (-1, -2):
        loss = loss + F.l1_loss(decoded.diff(dim=axis), images.diff(dim=axis))
    return loss


def boundary_error(decoded: Tensor, images: Tensor, seg: UInt8[Tensor, "b H W"]) -> Tensor:
    """L1 loss within two pixels of tooth and gingiva boundaries, where decoders blur first; mean over all pixels.

    Args:
        decoded: (b, 3, H, W) in [-1, 1].
        images: (b, 3, H, W) in [-1, 1].
        seg: Label map of three classes, as ``tissue_classes`` returns it.
    """
    bands = [boundary_band(seg == tissue, _BOUNDARY_PIXELS) for tissue in (TOOTH, GINGIVA)]
    return ((decoded - images).abs() * torch.stack(bands).amax(0)[:, None]).mean()


def image_weights(
    seg: UInt8[Tensor, "b H W"], spec: PixelWeights, found: Bool[Tensor, "b H W"] | None = None
) -> Float[Tensor, "b 1 H W"]:
    """Weights of the pixels of images, scaled as ``spec.normalise`` says.

    Args:
        seg: Label map of three classes, as ``tissue_classes`` returns it.
        spec: The weights.
        found: Where there is a finding; None: nowhere.
    """
    return _normalised(_summed_weights(seg, spec, found).clamp_min(spec.floor), spec.normalise)


def region_error(decoded: Tensor, images: Tensor, weights: Float[Tensor, "b 1 H W"]) -> Tensor:
    """Weighted L1 loss, mean over all pixels.

    Args:
        decoded: (b, 3, H, W) in [-1, 1].
        images: (b, 3, H, W) in [-1, 1].
        weights: Of the pixels.
    """
    return ((decoded - images).abs() * weights).mean()


def colour_error(decoded: Tensor, images: Tensor, weights: Float[Tensor, "b 1 H W"]) -> Tensor:
    """Weighted L1 loss of colour differences, averaged over 4 x 4 pixels.

    The tissue that is seen tells most of a pixel's colour, so a decoder may guess it and keep its latents for outlines;
    then yellow plaque on a tooth comes out white. Colour differences are blue and red less luma (ITU-R BT.601).

    Args:
        decoded: (b, 3, H, W) in [-1, 1].
        images: (b, 3, H, W) in [-1, 1].
        weights: Of the pixels.
    """
    away = F.avg_pool2d(decoded - images, _COLOUR_PIXELS)
    luma = (away * away.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    return ((away[:, [0, 2]] - luma).abs() * F.avg_pool2d(weights, _COLOUR_PIXELS)).mean()


def perceptual_error(encoder: ImageNetEncoder, decoded: Tensor, images: Tensor) -> Tensor:
    """Distance of deep features, which keeps what a recogniser needs: brackets, fillings, margins.

    Zhang et al. 2018 (arXiv 1801.03924), eq. 1, without learnt weights: features of every position are scaled to unit
    length, their squared distances averaged over positions and summed over the first resolutions.

    Args:
        encoder: Frozen.
        decoded: (b, 3, H, W) in [-1, 1].
        images: (b, 3, H, W) in [-1, 1].
    """
    found, wanted = (
        encoder(encoder.normalised(batch.float() / 2 + 0.5), _PERCEPTUAL_DEPTH) for batch in (decoded, images.detach())
    )
    distance = decoded.new_zeros(())
    for one, other in zip(found, wanted, strict=True):
        distance = distance + (F.normalize(one) - F.normalize(other)).square().sum(1).mean()
    return distance


def texture_error(decoded: Tensor, images: Tensor) -> Tensor:
    """Absolute log ratio of fine-detail energy between two images, mean over channels and bands.

    Squared and absolute errors are lowest for an image that is smoother than its target; this one is 0 where there is
    as much detail as in the target, wherever it is. Channels are red, green, blue and linear luminance, each in two
    bands: a single energy can be matched cheaply, for example by brighter highlights.

    Args:
        decoded: (b, 3, H, W) in [-1, 1].
        images: (b, 3, H, W) in [-1, 1].
    """
    found, wanted = (_fine_energies(batch.float()).add(_MIN_ENERGY).log() for batch in (decoded, images))
    return (found - wanted).abs().mean()


def _fine_energies(images: Tensor) -> Float[Tensor, "b 4 bands"]:
    """Mean squares of red, green, blue and linear luminance in each of ``_BANDS``."""
    levels = ((images + 1) / 2).clamp(0, 1)
    values = torch.cat([levels, linear_luminance(levels)], 1)
    for axis in (-1, -2):
        values = torch.cat([values, values.flip(axis)], axis)  # mirrored, so that the image border is no edge
    power = torch.fft.fft2(values, norm="forward").abs().square()
    down, across = (torch.fft.fftfreq(size, device=values.device) for size in values.shape[-2:])
    frequency = torch.hypot(down[:, None], across)
    return torch.stack([(power * ((low < frequency) & (frequency <= high))).sum((2, 3)) for low, high in _BANDS], -1)


def linear_luminance(levels: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b 1 H W"]:
    """Relative luminance, 0..1, of sRGB levels 0..1 (IEC 61966-2-1)."""
    linear = torch.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return (linear * linear.new_tensor([0.2126, 0.7152, 0.0722])[:, None, None]).sum(1, keepdim=True)


def kl_loss(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL divergence of a diagonal Gaussian from the standard normal, mean over all elements."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()


def snr_weights(alphas_cumprod: Tensor, timesteps: Tensor, gamma: float = 5.0, floor: float = 0.0) -> Tensor:
    """Min-SNR weights of the noise loss (Hang et al. 2023, eq. 8, https://arxiv.org/abs/2303.09556).

    The squared error of the noise is that of the image times SNR; so weighted, the image error counts by the SNR,
    clamped to ``[floor, gamma]``. Without a floor the first step of a sampler, where the SNR of Stable Diffusion's
    schedule is 0.005 and layout and light are decided, has next to no weight.

    Args:
        alphas_cumprod: (steps,) cumulative product of (1 - beta).
        timesteps: (b,) training timesteps.
        gamma: Upper bound of the weight of the image error.
        floor: Lower bound of it.

    Returns:
        (b,) weights.
    """
    abar = alphas_cumprod[timesteps]
    snr = abar / (1 - abar)
    return snr.clamp(floor, gamma) / snr


def pixel_weights(
    seg: UInt8[Tensor, "b H W"], spec: LossSpec, latent_size: int, found: Bool[Tensor, "b H W"] | None = None
) -> Float[Tensor, "b 1 h w"]:
    """Weights of the diffusion loss from label maps.

    Sum over classes c of weight_c x share of c in a latent's pixels, plus ``boundary`` x share of the band around
    tooth boundaries, plus ``finding`` x share of findings. Area reduction keeps the mass of gaps narrower than a
    latent, which nearest neighbour loses.

    Args:
        seg: Label map of three classes; ``IGNORE`` weighs as background.
        spec: The weights.
        latent_size: Edge of the latents.
        found: Where there is a finding; None: nowhere.

    Returns:
        Weights, scaled to mean 1 per sample or over the batch of all workers if ``spec.normalise`` says so.
    """
    weights = _resized(_summed_weights(seg, spec, found), latent_size, spec.reduce).clamp_min(spec.floor)
    return _normalised(weights, spec.normalise)


def _summed_weights(
    seg: UInt8[Tensor, "b H W"], spec: PixelWeights, found: Bool[Tensor, "b H W"] | None
) -> Float[Tensor, "b 1 H W"]:
    weights = torch.full_like(seg, spec.background, dtype=torch.float32)
    weights[seg == GINGIVA] = spec.gingiva
    weights[seg == TOOTH] = spec.tooth
    if spec.boundary:
        weights = weights + spec.boundary * boundary_band(seg == TOOTH, spec.boundary_pixels)
    if found is not None:
        weights = weights + spec.finding * found
    return weights[:, None]


def boundary_band(inside: Bool[Tensor, "b H W"], pixels: int) -> Float[Tensor, "b H W"]:
    """1 within ``pixels`` of the boundary of a region (square neighbourhoods), 0 elsewhere."""
    values, edge = inside.float()[:, None], 2 * pixels + 1
    dilated = F.max_pool2d(values, edge, stride=1, padding=pixels)
    eroded = -F.max_pool2d(-values, edge, stride=1, padding=pixels)
    return (dilated - eroded)[:, 0]


def _resized(weights: Tensor, size: int, mode: str) -> Tensor:
    if mode == "area":
        return F.interpolate(weights, size=(size, size), mode="area")
    return F.interpolate(weights, size=(size, size), mode="bilinear", align_corners=False)


def _normalised(weights: Tensor, over: str) -> Tensor:
    """Divide by the mean; weights that are all 0 stay 0."""
    if over == "none":
        return weights
    mean = weights.mean(dim=(1, 2, 3), keepdim=True) if over == "sample" else _mean_over_workers(weights.mean())
    return weights / torch.where(mean > 0, mean, torch.ones_like(mean))


def _mean_over_workers(value: Tensor) -> Tensor:
    """The mean over all training workers; a worker that validates alone must not wait for the others."""
    if not (torch.is_grad_enabled() and distributed.is_available() and distributed.is_initialized()):
        return value
    total = value.clone()
    distributed.all_reduce(total)
    return total / distributed.get_world_size()


def noise_loss(noise_pred: Tensor, noise: Tensor, row_weights: Tensor, weights: Tensor | None = None) -> Tensor:
    """Weighted squared error of the predicted noise, mean over rows and elements.

    Args:
        noise_pred: (b, 4, h, w).
        noise: (b, 4, h, w).
        row_weights: (b,) weights of the rows.
        weights: (b, 1, h, w) spatial weights, or None for 1 everywhere.
    """
    square = (noise_pred - noise).square()
    if weights is not None:
        square = square * weights
    return (square.mean(dim=(1, 2, 3)) * row_weights).mean()


def consistency_loss(answer: Tensor, target: Tensor, c: float = 1e-3) -> Tensor:
    """Pseudo-Huber loss sqrt(d^2 + c^2) - c, mean over all elements.

    Element-wise form of Song and Dhariwal 2023, eq. 11, https://arxiv.org/abs/2310.14189.
    """
    return ((answer - target).square() + c * c).sqrt().sub(c).mean()
