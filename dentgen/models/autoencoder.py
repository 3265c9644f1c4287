"""Pictures to latents and back, in batches of one fixed size, so that a result never depends on how many came along.

What goes to or comes from a device is bytes; ranges and rounding are its work. Refuses to know where pictures come from
and what latents are for.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from dentgen.errors import EngineError, OutOfMemoryError, SpecError, is_out_of_memory

Item = TypeVar("Item")
Result = TypeVar("Result")


class OnDevice(Protocol):
    """Runs work where the device is and returns its result."""

    def __call__(self, work: Callable[[], Result], /) -> Result:
        """Run it."""


def _at_once(work: Callable[[], Result], /) -> Result:
    return work()


def downscale_of(autoencoder: AutoencoderKL | AutoencoderTiny) -> int:
    """Pixels per latent along an edge: a factor between any two of its blocks, which is 2 unless it says otherwise."""
    config = autoencoder.config
    return int(config.get("upsampling_scaling_factor", 2) ** (len(config["block_out_channels"]) - 1))


class LatentCodec:
    """A bundle's autoencoder with a fixed batch size. Keeps no state, so that several threads may share it."""

    def __init__(
        self,
        vae: AutoencoderKL,
        batch: int,
        on_device: OnDevice = _at_once,
        *,
        decoder: AutoencoderKL | AutoencoderTiny | None = None,
        tile: int | None = None,
        compiled: bool = False,
    ) -> None:
        """Take an autoencoder, in the memory format that its loader gave it.

        Args:
            vae: The network; always the one that encodes.
            batch: Images per call of it; short batches are padded with zeros.
            on_device: Runs every call; an engine's thread, where that owns the device.
            decoder: Decodes in the vae's place.
            tile: Edge in pixels of the tiles in which larger pictures are decoded; None decodes them whole.
            compiled: Compile the decoder, for whole pictures.

        Raises:
            SpecError: If the decoder cannot work in such tiles.
        """
        self._vae, self._batch, self.on_device = vae, batch, on_device
        self._decoder = vae if decoder is None else decoder
        self._in_tiles = None if tile is None else _in_tiles(self._decoder, tile)
        self._whole = torch.compile(self._decoder.decode, dynamic=False) if compiled else self._decoder.decode

    def through(self, on_device: OnDevice) -> LatentCodec:
        """The same codec with its calls run elsewhere."""
        codec = copy.copy(self)
        codec.on_device = on_device
        return codec

    @property
    def downscale(self) -> int:
        """Pixels per latent."""
        return downscale_of(self._vae)

    def encode_control(self, images: Sequence[NDArray[np.uint8]]) -> list[Float[Tensor, "4 h w"]]:
        """Scaled latents of control images (H, W, 3), taken as [0, 1] and at the posterior's mode.

        ctrLoRA encodes conditions in [0, 1], not in the picture's [-1, 1].
        """
        return self._encode_all(self._control_pixels, images)

    def encode_pictures(self, images: Sequence[NDArray[np.uint8]]) -> list[Float[Tensor, "4 h w"]]:
        """Scaled latents of pictures (H, W, 3), taken as [-1, 1] and at the posterior's mode."""
        return self._encode_all(self._picture_pixels, images)

    def encode_masked(
        self, images: Sequence[NDArray[np.uint8]], keep_masks: Sequence[NDArray[np.bool_]]
    ) -> list[Float[Tensor, "4 h w"]]:
        """As ``encode_pictures``, what a mask (H, W) does not keep set to mid-grey, as 9-channel inpainting expects.

        Raises:
            ValueError: If there are not as many masks as images.
        """
        return self._encode_all(self._masked_pixels, list(zip(images, keep_masks, strict=True)))

    def decode(self, latents: Sequence[Float[Tensor, "4 h w"]]) -> list[NDArray[np.uint8]]:
        """Pictures (H, W, 3) uint8 of scaled latents, levels rounded to nearest.

        Raises:
            EngineError: If values of a picture are not finite.
            OutOfMemoryError: If a batch does not fit into the device's memory.
        """
        pictures = [picture for picture in self.decode_finite(latents) if picture is not None]
        if len(pictures) < len(latents):
            raise EngineError(
                f"{len(latents) - len(pictures)} of {len(latents)} pictures have values that are not finite"
            )
        return pictures

    def decode_finite(self, latents: Sequence[Float[Tensor, "4 h w"]]) -> list[NDArray[np.uint8] | None]:
        """As ``decode``, with None in place of a picture whose values are not finite.

        Every batch is launched before the first is waited for, and the waiting is done by the caller's own thread.

        Raises:
            OutOfMemoryError: If a batch does not fit into the device's memory.
        """
        copies = [self.on_device(partial(self._decoded_within_memory, chunk)) for chunk in self._chunks(latents)]
        return [picture for copied in copies for picture in copied.pictures()]

    def warm_up(self, latent_size: int) -> None:
        """Decode one batch, so that compiling and running out of memory happen now.

        Raises:
            OutOfMemoryError: If a batch does not fit into the device's memory.
        """
        self.decode([torch.zeros(int(self._vae.config["latent_channels"]), latent_size, latent_size)])

    def _decoded_within_memory(self, latents: Sequence[Tensor]) -> _PictureCopy:
        try:
            return self._decode(latents)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            edge = latents[0].shape[-1] * self.downscale
            raise OutOfMemoryError(
                f"decoding {self._batch} pictures of {edge} pixels does not fit into the memory of "
                f"{self._vae.device}; model.decode_tile needs less"
            ) from error

    def _encode_all(self, pixels: Callable[[Sequence[Item]], Tensor], items: Sequence[Item]) -> list[Tensor]:
        chunks = self._chunks(items)
        return [latents for chunk in chunks for latents in self.on_device(partial(self._encode, pixels, chunk))]

    @torch.no_grad()
    def _encode(self, pixels: Callable[[Sequence[Item]], Tensor], chunk: Sequence[Item]) -> list[Tensor]:
        batch = _laid_out(self._padded(pixels(chunk).to(self._vae.dtype)), self._vae)
        encoded = self._vae.encode(batch).latent_dist.mode() * float(self._vae.config["scaling_factor"])
        return list(encoded[: len(chunk)].clone())

    def _control_pixels(self, images: Sequence[NDArray[np.uint8]]) -> Float[Tensor, "batch 3 H W"]:
        return self._levels(images) / 255

    def _picture_pixels(self, images: Sequence[NDArray[np.uint8]]) -> Float[Tensor, "batch 3 H W"]:
        return self._levels(images) / 255 * 2 - 1

    def _masked_pixels(
        self, pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.bool_]]]
    ) -> Float[Tensor, "batch 3 H W"]:
        kept = torch.from_numpy(np.stack([keep for _, keep in pairs])).to(self._vae.device)
        return self._picture_pixels([image for image, _ in pairs]) * kept[:, None]

    def _levels(self, images: Sequence[NDArray[np.uint8]]) -> Float[Tensor, "batch 3 H W"]:
        # In two steps: one ``to`` would convert on the host and copy four times the bytes.
        return torch.from_numpy(np.stack(images)).to(self._vae.device).float().permute(0, 3, 1, 2)

    @torch.no_grad()
    def _decode(self, latents: Sequence[Tensor]) -> _PictureCopy:
        batch = torch.stack(list(latents)).to(self._decoder.device, self._decoder.dtype)
        batch = _laid_out(self._padded(batch / float(self._decoder.config["scaling_factor"])), self._decoder)
        decoded = self._decoded(batch)[: len(latents)]
        values = decoded.float() / 2
        finite = values.flatten(1).sum(1).isfinite()  # one pass: what is not finite stays so in a sum
        levels = values.add_(0.5).clamp_(0, 1).mul_(255).round_().to(torch.uint8)
        return _PictureCopy(levels.permute(0, 2, 3, 1).contiguous(), finite)

    def _decoded(self, batch: Float[Tensor, "batch 4 h w"]) -> Float[Tensor, "batch 3 H W"]:
        decode = self._whole
        # AutoencoderTiny would cut even a single tile into overlapping pieces.
        if self._in_tiles is not None and max(batch.shape[-2:]) > self._in_tiles.tile_latent_min_size:
            decode = self._in_tiles.decode
        decoded: Tensor = decode(batch, return_dict=False)[0]
        return decoded

    def _chunks(self, items: Sequence[Item]) -> list[Sequence[Item]]:
        return [items[i : i + self._batch] for i in range(0, len(items), self._batch)]

    def _padded(self, batch: Tensor) -> Tensor:
        missing = self._batch - len(batch)
        return torch.cat([batch, batch.new_zeros(missing, *batch.shape[1:])]) if missing else batch


class _PictureCopy:
    """Pictures on their way to the host; the copy runs while the device goes on with what comes next."""

    def __init__(self, levels: UInt8[Tensor, "batch H W 3"], finite: Bool[Tensor, " batch"]) -> None:
        """Start the copy, behind what the current stream still has to do to both."""
        self._arrived: torch.cuda.Event | None = None
        self._levels, self._finite = _to_host(levels), _to_host(finite)
        if not levels.is_cuda:
            return
        self._arrived = torch.cuda.Event(blocking=True)  # waiting sleeps: whoever drives the device may need the core
        self._arrived.record(torch.cuda.current_stream(levels.device))

    def pictures(self) -> list[NDArray[np.uint8] | None]:
        """Wait for the copy. Called by whoever wants the pictures, not where the device is driven."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return [
            picture if is_finite else None
            for picture, is_finite in zip(self._levels.numpy(), self._finite.tolist(), strict=True)
        ]


def _to_host(values: Tensor) -> Tensor:
    """A copy that is complete once the stream has come so far; on the CPU the values themselves."""
    if not values.is_cuda:
        return values
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return host.copy_(values, non_blocking=True)


def _in_tiles(decoder: AutoencoderKL | AutoencoderTiny, tile: int) -> AutoencoderKL | AutoencoderTiny:
    """The decoder, its weights shared, with diffusers' tiled decoding switched on; the decoder itself stays as it is.

    diffusers rounds a tile's overlap down, in latents and in pixels separately. Where the one in latents is not whole,
    AutoencoderKL gives a picture of another size; where it is 0, AutoencoderTiny leaves all but the first tile grey.
    """
    downscale = downscale_of(decoder)
    step = round(1 / decoder.tile_overlap_factor) * downscale
    if tile < step or tile % step:
        kind = type(decoder).__name__
        raise SpecError(
            f"tile: found {tile} pixels, expected a multiple of {step}: {kind}'s tiles overlap by whole latents"
        )
    view = copy.copy(decoder)
    view.use_tiling, view.tile_sample_min_size, view.tile_latent_min_size = True, tile, tile // downscale
    view.spatial_scale_factor = downscale  # AutoencoderTiny takes 2 ** out_channels, right for three doublings only
    return view


def _laid_out(batch: Tensor, module: torch.nn.Module) -> Tensor:
    """The batch in the memory format of the module's convolutions."""
    kernels = [p for p in module.parameters() if p.ndim == 4 and not p.is_contiguous()]
    is_last = any(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    return batch.contiguous(memory_format=torch.channels_last if is_last else torch.contiguous_format)
