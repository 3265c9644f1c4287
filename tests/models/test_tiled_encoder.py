"""Tiled encoding: exact for local encoders, near the whole for the real one, flat in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from dentgen.errors import SpecError
from dentgen.models.autoencoder import LatentCodec
from dentgen.models.bundle import Bundle
from dentgen.models.tiled_encoder import check_tile, encode_in_tiles


def seen_by(shape: tuple[int, int], tile: int | None) -> list[tuple[int, int]]:
    """Sizes of the pictures that an encoder gets."""
    sizes: list[tuple[int, int]] = []

    def noting(pictures: Tensor) -> Tensor:
        sizes.append((pictures.shape[2], pictures.shape[3]))
        return avg_pool2d(pictures, 8)

    encode_in_tiles(noting, torch.zeros(1, 3, *shape), tile, 8)
    return sizes


@pytest.mark.parametrize("shape", [(64, 200), (136, 96), (64, 72)])
def test_tiles_of_a_local_encoder_give_the_whole(shape: tuple[int, int]) -> None:
    pictures = torch.rand(2, 3, *shape)
    tiled = encode_in_tiles(lambda part: avg_pool2d(part, 8), pictures, 64, 8)
    torch.testing.assert_close(tiled, avg_pool2d(pictures, 8), atol=1e-6, rtol=0)


def test_the_encoder_sees_tiles_of_one_size_however_long_the_picture_is() -> None:
    for width in (128, 512, 4096):
        assert set(seen_by((96, width), 64)) == {(64, 64)}
        assert set(seen_by((40, width), 64)) == {(40, 64)}
    assert seen_by((64, 64), 64) == seen_by((64, 64), None) == [(64, 64)]
    assert seen_by((96, 512), None) == [(96, 512)]


def test_tiles_are_near_the_whole_on_the_miniature(miniature: Bundle) -> None:
    """Group norms see a tile's statistics, not the picture's: the difference is small, and zero nowhere."""
    y, x = np.mgrid[:64, :160] / 20
    smooth = 127 + 60 * np.sin(x) * np.cos(y)
    picture = np.stack([smooth, smooth * 0.8, smooth * 0.6], -1).astype(np.uint8)
    whole, tiled = (
        LatentCodec(miniature.vae, 1, encode_tile=tile).encode_pictures([picture])[0] for tile in (None, 64)
    )
    away = (whole - tiled).abs()
    assert whole.shape == tiled.shape == (4, 8, 20)
    assert 0 < away.mean() < 0.25 * whole.std()
    small = picture[:, :64]
    once, again = (LatentCodec(miniature.vae, 1, encode_tile=tile).encode_pictures([small])[0] for tile in (None, 64))
    assert torch.equal(once, again), "a picture of one tile is encoded whole"


@pytest.mark.parametrize("tile", [4, 60])
def test_tiles_are_whole_latents(tile: int) -> None:
    with pytest.raises(SpecError) as caught:
        check_tile(tile, 8)
    assert (caught.value.key, caught.value.found) == ("model.encode_tile", f"{tile} pixels")
