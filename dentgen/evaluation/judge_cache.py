"""A cache of trained judges in the work folder, so that many models are scored by the same ones.

The cache key covers everything that decides a judge: its kind, training images, labels, steps, seed and light.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import nn

from dentgen import storage
from dentgen.evaluation.judge_settings import JudgeSettings
from dentgen.evaluation.judges import train_judge
from dentgen.models.judge_networks import DilatedSegmenter, Segmenter, to_channels_last

#: Increased whenever the judges' networks or training change, so that older weights miss the cache.
EDITION: Final = 1

_Network = TypeVar("_Network", bound=nn.Module)


def cached_segmenters(
    work: str, images: NDArray[np.uint8], truth: NDArray[np.uint8], settings: JudgeSettings, seed: int = 0
) -> dict[str, Segmenter | DilatedSegmenter]:
    """Load or train two segmenters of different architectures, "unet" and "dilated", in random light.

    Args:
        work: Folder or URL of the cache.
        images: (n, H, W, 3) uint8.
        truth: (n, H, W) tissue classes.
        settings: Number of steps.
        seed: Seed of weights and batches.
    """
    train = partial(cached_judge, work, images=images, truth=truth, seed=seed, photometric=True)
    return {
        "unet": train(Segmenter, steps=settings.unet_steps, name="unet"),
        "dilated": train(DilatedSegmenter, steps=settings.dilated_steps, name="dilated"),
    }


def cached_judge(
    work: str,
    judge: Callable[[], _Network],
    images: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    *,
    steps: int,
    seed: int,
    name: str,
    photometric: bool = False,
) -> _Network:
    """Return what ``train_judge`` gives for these arguments, from ``work`` on a cache hit."""
    light = ["photometric"] if photometric else []
    place = storage.join(work, "judges", f"{name}-{_digest(images, truth, name, steps, seed, *light)}.safetensors")
    weights = storage.read_if_exists(place)
    if weights is None:
        network = train_judge(judge, images, truth, steps=steps, seed=seed, name=name, photometric=photometric)
        storage.put_if_absent(place, save({key: value.contiguous() for key, value in network.state_dict().items()}))
        return network
    network = judge()
    network.load_state_dict(load(weights))
    return to_channels_last(network).eval()


def _digest(images: NDArray[np.uint8], truth: NDArray[np.uint8], *settings: str | int) -> str:
    digest = hashlib.sha256(repr((EDITION, images.shape, truth.shape, *settings)).encode())
    digest.update(images.tobytes())
    digest.update(truth.tobytes())
    return digest.hexdigest()[:16]
