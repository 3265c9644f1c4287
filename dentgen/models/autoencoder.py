"""Encoding pictures to latents and decoding them, in batches of one fixed size.

The fixed size makes results independent of the number of pictures. Pictures cross the bus as bytes: ranges and rounding
are computed on the device.
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
from dentgen.models.tiled_encoder import check_tile, encode_in_tiles

Item = TypeVar("Item")
Result = TypeVar("Result")


class OnDevice(Protocol):
    """Runs a function on the thread that owns the device and returns its result."""

    def __call__(self, work: Callable[[], Result], /) -> Result:
        """Run it."""


def _on_this_thread(work: Callable[[], Result], /) -> Result:
    return work()


def downscale_of(autoencoder: AutoencoderKL | AutoencoderTiny) -> int:
    """Pixels per latent along an edge: 2 (or the configured upsampling factor) per pair of adjacent blocks."""
    config = autoencoder.config
    return int(config.get("upsampling_scaling_factor", 2) ** (len(config["block_out_channels"]) - 1))


class LatentCodec:
    """A bundle's autoencoder with a fixed batch size. Stateless, so threads may share it."""

    def __init__(
        self,
        vae: AutoencoderKL,
        batch: int,
        on_device: OnDevice = _on_this_thread,
        *,
        decoder: AutoencoderKL | AutoencoderTiny | None = None,
        tile: int | None = None,
        encode_tile: int | None = None,
        compiled: bool = False,
    ) -> None:
        """Wrap an autoencoder; its memory format must not change afterwards.

        Args:
            vae: Encodes, and decodes unless ``decoder`` is given.
            batch: Images per network call; short batches are padded with zeros.
            on_device: Runs every network call, for example on an engine's thread.
            decoder: Decodes in place of ``vae``.
            tile: Edge, in pixels, of the tiles in which larger pictures are decoded; None decodes them whole.
            encode_tile: Edge of the tiles in which larger pictures are encoded; None encodes them whole.
            compiled: Compile the decoder for whole pictures.

        Raises:
            SpecError: If the decoder's tiles of this size would not overlap by whole latents, or the encoder's do not
                consist of them.
        """
        self._vae, self._batch, self.on_device = vae, batch, on_device
        self._decoder = vae if decoder is None else decoder
        self._vae_format, self._decoder_format = _memory_format(vae), _memory_format(self._decoder)
        self._in_tiles = None if tile is None else _in_tiles(self._decoder, tile)
        check_tile(encode_tile, downscale_of(vae))
        self._encode_tile = encode_tile
        self._whole = torch.compile(self._decoder.decode, dynamic=False) if compiled else self._decoder.decode

    def through(self, on_device: OnDevice) -> LatentCodec:
        """The same codec with its network calls run by ``on_device``."""
        codec = copy.copy(self)
        codec.on_device = on_device
        return codec

    def in_batches(self, batch: int) -> LatentCodec:
        """The same codec with another batch size, which is another shape: pixels may differ by a level."""
        codec = copy.copy(self)
        codec._batch = batch  # noqa: SLF001 - of a copy of itself
        return codec

    @property
    def downscale(self) -> int:
        """Pixels per latent along an edge."""
        return downscale_of(self._vae)

    def encode_control(self, images: Sequence[NDArray[np.uint8]]) -> list[Float[Tensor, "4 h w"]]:
        """Scaled latents (4, h, w) of control images (H, W, 3) uint8, at the posterior's mode.

        Control images are encoded in the range [0, 1], as in ctrLoRA, not in the [-1, 1] of pictures.
        """
        return self._encode_all(self._control_pixels, images)

    def encode_pictures(self, images: Sequence[NDArray[np.uint8]]) -> list[Float[Tensor, "4 h w"]]:
        """Scaled latents (4, h, w) of pictures (H, W, 3) uint8, encoded in [-1, 1], at the posterior's mode."""
        return self._encode_all(self._picture_pixels, images)

    def encode_masked(
        self, images: Sequence[NDArray[np.uint8]], keep_masks: Sequence[NDArray[np.bool_]]
    ) -> list[Float[Tensor, "4 h w"]]:
        """As ``encode_pictures``, with pixels outside the keep masks (H, W) set to mid-grey, for 9-channel inpainting.

        Raises:
            ValueError: If the numbers of masks and images differ.
        """
        return self._encode_all(self._masked_pixels, list(zip(images, keep_masks, strict=True)))

    def decode(self, latents: Sequence[Float[Tensor, "4 h w"]]) -> list[NDArray[np.uint8]]:
        """Pictures (H, W, 3) uint8 of scaled latents (4, h, w), rounded to the nearest level.

        Raises:
            EngineError: If a decoded picture has values that are not finite.
            OutOfMemoryError: If a batch does not fit into the device's memory.
        """
        pictures = [picture for picture in self.decode_finite(latents) if picture is not None]
        if len(pictures) < len(latents):
            found = f"{len(latents) - len(pictures)} of {len(latents)} with values that are not finite"
            raise EngineError(key="decoded pictures", found=found, expected="finite values")
        return pictures

    def decode_finite(self, latents: Sequence[Float[Tensor, "4 h w"]]) -> list[NDArray[np.uint8] | None]:
        """As ``decode``, with None in place of pictures with values that are not finite.

        All batches are launched before the first is waited for, and the caller's thread does the waiting.

        Raises:
            OutOfMemoryError: If a batch does not fit into the device's memory.
        """
        copies = [self.on_device(partial(self._decoded_within_memory, chunk)) for chunk in self._chunks(latents)]
        return [picture for copied in copies for picture in copied.pictures()]

    def warm_up(self, latent_size: tuple[int, int]) -> None:
        """Decode one batch, so that compilation and out-of-memory errors happen now.

        Raises:
            OutOfMemoryError: If a batch does not fit into the device's memory.
        """
        self.decode([torch.zeros(int(self._vae.config["latent_channels"]), *latent_size)])

    def _decoded_within_memory(self, latents: Sequence[Tensor]) -> _PictureCopy:
        try:
            return self._decode(latents)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            height, width = (edge * self.downscale for edge in latents[0].shape[-2:])
            pictures = f"{self._batch} pictures of {width} x {height} pixels"
            message = f"decoding {pictures} does not fit into {self._vae.device}'s memory"
            raise OutOfMemoryError(message, advice="decode in tiles (model.decode_tile)") from error

    def _encode_all(self, pixels: Callable[[Sequence[Item]], Tensor], items: Sequence[Item]) -> list[Tensor]:
        chunks = self._chunks(items)
        return [latents for chunk in chunks for latents in self.on_device(partial(self._encode, pixels, chunk))]

    @torch.no_grad()
    def _encode(self, pixels: Callable[[Sequence[Item]], Tensor], chunk: Sequence[Item]) -> list[Tensor]:
        batch = self._padded(pixels(chunk).to(self._vae.dtype)).contiguous(memory_format=self._vae_format)
        encoded = encode_in_tiles(self._mode, batch, self._encode_tile, self.downscale)
        return list((encoded * float(self._vae.config["scaling_factor"]))[: len(chunk)].clone())

    def _mode(self, pictures: Float[Tensor, "batch 3 H W"]) -> Float[Tensor, "batch 4 h w"]:
        mode: Tensor = self._vae.encode(pictures).latent_dist.mode()
        return mode

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
        # Two steps, because a single ``to`` would convert on the host and copy four times the bytes.
        return _to_device(torch.from_numpy(np.stack(images)), self._vae.device).float().permute(0, 3, 1, 2)

    @torch.no_grad()
    def _decode(self, latents: Sequence[Tensor]) -> _PictureCopy:
        batch = torch.stack(list(latents)).to(self._decoder.device, self._decoder.dtype)
        batch = self._padded(batch / float(self._decoder.config["scaling_factor"]))
        decoded = self._decoded(batch.contiguous(memory_format=self._decoder_format))[: len(latents)]
        values = decoded.float() / 2
        finite = values.flatten(1).sum(1).isfinite()  # one pass: a sum propagates NaN and infinity
        levels = values.add_(0.5).clamp_(0, 1).mul_(255).round_().to(torch.uint8)
        return _PictureCopy(levels.permute(0, 2, 3, 1).contiguous(), finite)

    def _decoded(self, batch: Float[Tensor, "batch 4 h w"]) -> Float[Tensor, "batch 3 H W"]:
        decode = self._whole
        # AutoencoderTiny would split even a picture of one tile into overlapping tiles.
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
    """An asynchronous copy of pictures to the host, which overlaps with the device's next work."""

    def __init__(self, levels: UInt8[Tensor, "batch H W 3"], finite: Bool[Tensor, " batch"]) -> None:
        """Enqueue the copy on the current stream."""
        self._arrived: torch.cuda.Event | None = None
        self._levels, self._finite = _to_host(levels), _to_host(finite)
        if not levels.is_cuda:
            return
        self._arrived = torch.cuda.Event(blocking=True)  # wait without spinning: the engine's thread may need the core
        self._arrived.record(torch.cuda.current_stream(levels.device))

    def pictures(self) -> list[NDArray[np.uint8] | None]:
        """Wait for the copy; call it on the consumer's thread, not on the one that drives the device."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return [
            picture if is_finite else None
            for picture, is_finite in zip(self._levels.numpy(), self._finite.tolist(), strict=True)
        ]


def _to_host(values: Tensor) -> Tensor:
    """An asynchronous copy on the host, complete when the stream reaches it; CPU tensors are returned as they are."""
    if not values.is_cuda:
        return values
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return host.copy_(values, non_blocking=True)


def _to_device(values: Tensor, device: torch.device) -> Tensor:
    """A copy on the device that the host does not wait for; CPU tensors are returned as they are."""
    return values if device.type == "cpu" else values.pin_memory().to(device, non_blocking=True)


def _in_tiles(decoder: AutoencoderKL | AutoencoderTiny, tile: int) -> AutoencoderKL | AutoencoderTiny:
    """A view of the decoder, sharing its weights, with diffusers' tiled decoding enabled.

    diffusers rounds a tile's overlap down, separately in latents and in pixels. If the overlap in latents is not an
    integer, AutoencoderKL returns a picture of another size; if it is 0, AutoencoderTiny leaves all tiles but the first
    grey.
    """
    downscale = downscale_of(decoder)
    step = round(1 / decoder.tile_overlap_factor) * downscale
    if tile < step or tile % step:
        expected = f"a multiple of {step}, so that {type(decoder).__name__}'s tiles overlap by whole latents"
        raise SpecError(key="model.decode_tile", found=f"{tile} pixels", expected=expected)
    view = copy.copy(decoder)
    view.use_tiling, view.tile_sample_min_size, view.tile_latent_min_size = True, tile, tile // downscale
    view.spatial_scale_factor = downscale  # AutoencoderTiny uses 2 ** out_channels, right for 3 upsamplings only
    return view


def _memory_format(module: torch.nn.Module) -> torch.memory_format:
    """Memory format of the module's convolutions."""
    kernels = [p for p in module.parameters() if p.ndim == 4 and not p.is_contiguous()]
    is_last = any(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    return torch.channels_last if is_last else torch.contiguous_format
