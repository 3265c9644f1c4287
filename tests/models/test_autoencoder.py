"""Encoding and decoding against diffusers' own encoding, decoding and postprocessing."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from diffusers.image_processor import VaeImageProcessor
from numpy.typing import NDArray
from PIL import Image

from dentgen.errors import EngineError, SpecError
from dentgen.models.autoencoder import LatentCodec, downscale_of
from dentgen.models.bundle import Bundle
from dentgen.seeding import NoiseKey, fresh_weights

Decoder: TypeAlias = AutoencoderKL | AutoencoderTiny


@pytest.fixture(scope="module")
def photos(demo_members: dict[str, dict[str, bytes]]) -> list[NDArray[np.uint8]]:
    """Four photos of 128 pixels."""
    members = [demo_members[key]["photo.png"] for key in sorted(demo_members)[:4]]
    return [np.asarray(Image.open(io.BytesIO(member)).convert("RGB")) for member in members]


def some_latents(count: int, height: int = 16, width: int = 16) -> list[torch.Tensor]:
    return list(NoiseKey(1, "latents", 0).normal("latents", 0, (count, 4, height, width)))


@pytest.fixture(scope="module")
def tiny() -> AutoencoderTiny:
    with fresh_weights(0, "tiny decoder"):
        tiny = AutoencoderTiny(
            encoder_block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(16, 16, 16, 16),
            num_decoder_blocks=(1, 1, 1, 1), num_encoder_blocks=(1, 1, 1, 1),
        )  # fmt: skip
    return tiny.eval().requires_grad_(False)


@pytest.fixture(params=["kl", "tiny"])
def decoder(request: pytest.FixtureRequest, miniature: Bundle, tiny: AutoencoderTiny) -> Decoder:
    return tiny if request.param == "tiny" else miniature.vae


@torch.no_grad()
def by_diffusers(decoder: Decoder, latents: torch.Tensor) -> NDArray[np.float32]:
    """Picture (H, W, 3) in 0..1, decoded and postprocessed as by diffusers' pipelines."""
    decoded = decoder.decode(latents[None] / decoder.config["scaling_factor"]).sample
    return np.asarray(VaeImageProcessor().postprocess(decoded, output_type="np")[0])


@torch.no_grad()
def encoded_by_diffusers(vae: AutoencoderKL, image: torch.Tensor) -> torch.Tensor:
    return vae.encode(image).latent_dist.mode()[0] * vae.config["scaling_factor"]


def test_decoding_equals_diffusers(miniature: Bundle, decoder: Decoder) -> None:
    given = some_latents(3)
    found = LatentCodec(miniature.vae, 2, decoder=decoder).decode(given)
    for picture, latents in zip(found, given, strict=True):
        assert picture.dtype == np.uint8
        assert picture.shape == (128, 128, 3)
        assert np.ptp(picture) > 20, "a picture with contrast"
        assert np.abs(picture - by_diffusers(decoder, latents) * 255).max() < 0.51


def test_the_bundles_autoencoder_decodes_unless_another_is_given(miniature: Bundle, tiny: AutoencoderTiny) -> None:
    given = some_latents(1)
    (plain,), (named,), (other,) = (
        LatentCodec(miniature.vae, 1, decoder=decoder).decode(given) for decoder in (None, miniature.vae, tiny)
    )
    assert np.array_equal(plain, named)
    assert not np.array_equal(plain, other)


def test_encoding_equals_diffusers(miniature: Bundle, photos: list[NDArray[np.uint8]]) -> None:
    codec, images, processor = LatentCodec(miniature.vae, 2), photos[:3], VaeImageProcessor()
    as_control = VaeImageProcessor(do_normalize=False)
    for found, how in ((codec.encode_pictures(images), processor), (codec.encode_control(images), as_control)):
        for latents, image in zip(found, images, strict=True):
            expected = encoded_by_diffusers(miniature.vae, how.preprocess(image[None].astype(np.float32) / 255))
            assert latents.shape == (4, 16, 16)
            torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)


def test_masked_encoding_equals_diffusers_inpainting(miniature: Bundle, photos: list[NDArray[np.uint8]]) -> None:
    """In diffusers' mask, 1 means to repaint."""
    images, keep = photos[:2], np.ones((2, 128, 128), dtype=bool)
    keep[0, 32:96, 16:64] = False
    found = LatentCodec(miniature.vae, 4).encode_masked(images, list(keep))
    for latents, image, kept in zip(found, images, keep, strict=True):
        pixels = VaeImageProcessor().preprocess(image[None].astype(np.float32) / 255)
        mask = torch.from_numpy(1.0 - kept)
        expected = encoded_by_diffusers(miniature.vae, pixels * (mask < 0.5))
        torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(found[1], LatentCodec(miniature.vae, 4).encode_pictures(images)[1])
    with pytest.raises(ValueError, match="zip"):
        LatentCodec(miniature.vae, 4).encode_masked(images, list(keep[:1]))


@pytest.mark.integration
def test_bits_do_not_depend_on_other_pictures(
    miniature: Bundle, decoder: Decoder, photos: list[NDArray[np.uint8]]
) -> None:
    codec, given = LatentCodec(miniature.vae, 3, decoder=decoder), some_latents(4)
    alone = [codec.decode([latents])[0] for latents in given]
    assert all(np.array_equal(a, b) for a, b in zip(codec.decode(given), alone, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(codec.decode(given[::-1])[::-1], alone, strict=True))
    for encode in (codec.encode_pictures, codec.encode_control):
        alone_encoded = [encode([image])[0] for image in photos]
        assert all(torch.equal(a, b) for a, b in zip(encode(photos), alone_encoded, strict=True))
    assert codec.decode([]) == codec.encode_pictures([]) == []


@pytest.mark.parametrize("shape", [(16, 16), (8, 16)])
def test_pictures_no_larger_than_a_tile_are_decoded_whole(
    miniature: Bundle, decoder: Decoder, shape: tuple[int, int]
) -> None:
    given = some_latents(2, *shape)
    whole = LatentCodec(miniature.vae, 2, decoder=decoder).decode(given)
    tiled = LatentCodec(miniature.vae, 2, decoder=decoder, tile=128).decode(given)
    assert all(np.array_equal(a, b) for a, b in zip(whole, tiled, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(256, 256), (256, 184), (72, 256)])
def test_tiled_decoding_is_close_to_whole_decoding(
    miniature: Bundle, decoder: Decoder, photos: list[NDArray[np.uint8]], height: int, width: int
) -> None:
    """Not equal: AutoencoderKL normalises and attends over a tile instead of the picture."""
    mosaic = np.concatenate([np.concatenate(photos[:2], axis=1), np.concatenate(photos[2:], axis=1)])[:height, :width]
    given = LatentCodec(miniature.vae, 1).encode_pictures([mosaic])
    (whole,) = LatentCodec(miniature.vae, 1, decoder=decoder).decode(given)
    (tiled,) = LatentCodec(miniature.vae, 1, decoder=decoder, tile=128).decode(given)
    assert tiled.shape == whole.shape == mosaic.shape
    difference = np.abs(tiled.astype(int) - whole)
    assert 0 < difference.mean() < 4, "levels; the autoencoder's own error on these photos is 7"


def test_tiling_equals_diffusers_and_does_not_change_the_decoder(miniature: Bundle, decoder: Decoder) -> None:
    given = some_latents(1, 24, 40)
    before = {name: value for name, value in vars(decoder).items() if "til" in name or "spatial" in name}
    (tiled,) = LatentCodec(miniature.vae, 1, decoder=decoder, tile=128).decode(given)
    assert before == {name: vars(decoder)[name] for name in before}
    decoder.tile_sample_min_size, decoder.tile_latent_min_size = 128, 16
    decoder.enable_tiling()
    try:
        reference = by_diffusers(decoder, given[0]) * 255
    finally:
        decoder.disable_tiling()
        for name, value in before.items():
            setattr(decoder, name, value)
    assert np.abs(tiled - reference).max() < 0.51


@pytest.mark.parametrize("blocks", [3, 4])
def test_a_tiny_decoder_of_another_depth_is_tiled_to_the_right_size(miniature: Bundle, blocks: int) -> None:
    widths = (8,) * blocks
    with fresh_weights(0, "tiny decoder"):
        shallow = AutoencoderTiny(
            encoder_block_out_channels=widths, decoder_block_out_channels=widths,
            num_encoder_blocks=(1,) * blocks, num_decoder_blocks=(1,) * blocks,
        ).eval()  # fmt: skip
    assert downscale_of(shallow) == 2 ** (blocks - 1)
    (whole,), (tiled,) = (
        LatentCodec(miniature.vae, 1, decoder=shallow, tile=tile).decode(some_latents(1, 24, 40)) for tile in (None, 64)
    )
    assert whole.shape == tiled.shape
    assert 0 < np.abs(whole.astype(int) - tiled).mean() < 1


@pytest.mark.parametrize(
    ("kind", "multiple", "tile"),
    [*(("kl", 32, tile) for tile in (0, -32, 100, 48)), *(("tiny", 64, tile) for tile in (32, 56, 96))],
)
def test_tiles_must_overlap_by_whole_latents(
    miniature: Bundle, tiny: AutoencoderTiny, kind: str, multiple: int, tile: int
) -> None:
    with pytest.raises(SpecError) as caught:
        LatentCodec(miniature.vae, 1, decoder=tiny if kind == "tiny" else None, tile=tile)
    error = caught.value
    assert (error.key, error.found) == ("model.decode_tile", f"{tile} pixels")
    assert error.expected.startswith(f"a multiple of {multiple},")


def test_pictures_that_are_not_finite_are_left_out(miniature: Bundle) -> None:
    codec, given = LatentCodec(miniature.vae, 2), some_latents(3)
    expected = codec.decode(given)
    given[1] = torch.full_like(given[1], float("nan"))
    first, second, third = codec.decode_finite(given)
    assert second is None
    for found, picture in ((first, expected[0]), (third, expected[2])):
        assert found is not None
        assert np.array_equal(found, picture)
    with pytest.raises(EngineError) as caught:
        codec.decode(given)
    assert caught.value.found.startswith("1 of 3 ")


def test_the_callers_thread_waits_after_all_batches_are_launched(miniature: Bundle, tiny: AutoencoderTiny) -> None:
    """The codec for another thread keeps decoder and tiles."""
    given = some_latents(3, 16, 24)
    order: list[str] = []

    def elsewhere(work: Callable[[], Any], /) -> Any:
        copied = pool.submit(work).result()
        order.append("launched")
        arrived = copied.pictures

        def wait() -> Any:
            order.append("waited")
            return arrived()

        copied.pictures = wait
        return copied

    codec = LatentCodec(miniature.vae, 1, decoder=tiny, tile=128)
    with ThreadPoolExecutor(1) as pool:
        found = codec.through(elsewhere).decode(given)
    assert order == ["launched"] * 3 + ["waited"] * 3
    assert all(np.array_equal(a, b) for a, b in zip(found, codec.decode(given), strict=True))


@pytest.mark.integration
def test_threads_may_share_a_codec(miniature: Bundle, tiny: AutoencoderTiny) -> None:
    codec, given = LatentCodec(miniature.vae, 2, decoder=tiny, tile=128), some_latents(3, 16, 24)
    expected = codec.decode(given)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(codec.decode, [given] * 8):
            assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.integration
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_decodes_whole_and_in_tiles(
    miniature: Bundle, tiny: AutoencoderTiny, dtype: torch.dtype
) -> None:
    given = some_latents(1, 16, 24)
    (expected,) = LatentCodec(miniature.vae, 1, decoder=tiny).decode(given)
    with fresh_weights(0, "tiny decoder"):
        half = AutoencoderTiny.from_config(tiny.config)
    half.load_state_dict(tiny.state_dict())
    for tile in (None, 128):
        (found,) = LatentCodec(miniature.vae, 1, decoder=half.to(dtype).eval(), tile=tile).decode(given)
        assert np.abs(found.astype(int) - expected).mean() < 3


def test_batches_are_in_the_memory_format_of_the_network(miniature: Bundle, photos: list[NDArray[np.uint8]]) -> None:
    vae = AutoencoderKL.from_config(miniature.vae.config)
    vae.load_state_dict(miniature.vae.state_dict())
    vae.to(memory_format=torch.channels_last).eval()
    formats: list[bool] = []
    for layer in (vae.encoder.conv_in, vae.post_quant_conv):
        layer.register_forward_pre_hook(
            lambda _, inputs: formats.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
        )
    codec, plain = LatentCodec(vae, 2), LatentCodec(miniature.vae, 2)
    torch.testing.assert_close(
        codec.encode_pictures(photos[:1]), plain.encode_pictures(photos[:1]), rtol=1e-3, atol=1e-4
    )
    codec.decode(some_latents(1))
    assert formats == [True, True]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_pictures_of_a_gpu_are_close_to_those_of_a_cpu(miniature: Bundle) -> None:
    vae = AutoencoderKL.from_config(miniature.vae.config)
    vae.load_state_dict(miniature.vae.state_dict())
    given = some_latents(20)
    expected, found = (LatentCodec(v, 4).decode(given) for v in (miniature.vae, vae.eval().to("cuda")))
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(expected, found, strict=True)) <= 3
