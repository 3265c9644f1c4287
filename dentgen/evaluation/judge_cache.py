"""Judges that are trained once and kept in a work folder, so that many models can be held against the same ones.

A judge is named by everything that decides it: its kind, the pictures and truth it saw, steps and seed. Refuses to know
where these come from and what the judge is for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import nn

from dentgen import storage
from dentgen.evaluation.judges import DilatedSegmenter, Segmenter, settled, train_judge

#: Counts changes of the judges' networks and training: weights of another edition are not used again.
EDITION: Final = 1

_Network = TypeVar("_Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """What judges learn from, and how long: the defaults take a core about four minutes for each segmenter.

    Attributes:
        records: Reference pictures.
        unet_steps, dilated_steps: Steps of 8 pictures, of each segmenter.
        detector_steps: The same for each classifier of generated pictures.
    """

    records: int = 400
    unet_steps: int = 450
    dilated_steps: int = 700
    detector_steps: int = 400


DEFAULT_JUDGES: Final = JudgeSettings()


def kept_segmenters(
    work: str, images: NDArray[np.uint8], truth: NDArray[np.uint8], settings: JudgeSettings, seed: int = 0
) -> dict[str, Segmenter | DilatedSegmenter]:
    """Two differently built segmenters for pictures (n, H, W, 3) and tissue classes (n, H, W), by name."""
    return {
        "unet": kept_judge(work, Segmenter, images, truth, steps=settings.unet_steps, seed=seed, name="unet"),
        "dilated": kept_judge(
            work, DilatedSegmenter, images, truth, steps=settings.dilated_steps, seed=seed, name="dilated"
        ),
    }


def kept_judge(
    work: str,
    judge: Callable[[], _Network],
    images: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    *,
    steps: int,
    seed: int,
    name: str,
) -> _Network:
    """The judge that ``train_judge`` gives for these arguments; trained only if ``work`` does not hold it."""
    place = storage.join(work, "judges", f"{name}-{_digest(images, truth, name, steps, seed)}.safetensors")
    weights = storage.read_if_exists(place)
    if weights is None:
        network = train_judge(judge, images, truth, steps=steps, seed=seed, name=name)
        storage.put_if_absent(place, save({key: value.contiguous() for key, value in network.state_dict().items()}))
        return network
    network = judge()
    network.load_state_dict(load(weights))
    return settled(network).eval()


def _digest(images: NDArray[np.uint8], truth: NDArray[np.uint8], *settings: str | int) -> str:
    digest = hashlib.sha256(repr((EDITION, images.shape, truth.shape, *settings)).encode())
    digest.update(images.tobytes())
    digest.update(truth.tobytes())
    return digest.hexdigest()[:16]
