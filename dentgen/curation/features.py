"""Features of pictures: pooled activations of the judges, standardised by a set that is the reference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from dentgen.conditions.prepare import fit_map
from dentgen.curation.pictures import Picture
from dentgen.errors import ConditionError
from dentgen.models.judge_networks import judge_input
from dentgen.models.judges import Judges
from dentgen.quality.labelled_pictures import judged_shape

_BATCH: Final = 32
#: Dimensions that hardly vary say nothing; dividing by their deviation would make noise of them.
_LEAST_DEVIATION: Final = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Features of n pictures.

    Attributes:
        keys: Keys of the pictures, in the order in which they were read.
        values: (n, d) float32.
    """

    keys: tuple[str, ...]
    values: NDArray[np.float32]

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.keys)


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Mean and standard deviation (d,) of every dimension of a reference set."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, reference: Features) -> Scale:
        """Statistics of a set."""
        values = reference.values.astype(np.float64)
        return cls(values.mean(0), values.std(0))

    def standardised(self, features: Features) -> Features:
        """Every dimension less the mean, by the deviation; 0 where the reference hardly varies."""
        varies = self.deviation > _LEAST_DEVIATION
        values = (features.values - self.mean) / np.where(varies, self.deviation, 1.0)
        return Features(features.keys, np.where(varies, values, 0.0).astype(np.float32))


def picture_features(pictures: Iterable[Picture], judges: Judges) -> Features:
    """Pooled activations of all judges, one after the other, as they are.

    Pictures are brought to the judges' area first. They are read in batches of one size, in their order.

    Args:
        pictures: Pictures, of any sizes.
        judges: The judges.

    Raises:
        ConditionError: If there are no pictures.
    """
    keys, parts = list[str](), list[NDArray[np.float32]]()
    for chunk in _batches(pictures):
        keys += [picture.key for picture in chunk]
        parts.append(_pooled(chunk, judges))
    if not parts:
        raise ConditionError("the pictures to compare", "no picture", "one at least")
    return Features(tuple(keys), np.concatenate(parts))


def _batches(pictures: Iterable[Picture]) -> Iterator[list[Picture]]:
    for _, run in groupby(pictures, key=lambda picture: picture.pixels.shape):
        while chunk := list(islice(run, _BATCH)):
            yield chunk


@torch.no_grad()
def _pooled(pictures: list[Picture], judges: Judges) -> NDArray[np.float32]:
    """(n, d) of pictures of one size."""
    shape = judged_shape(pictures[0].pixels.shape[:2], judges.size)
    shown = [fit_map(picture.pixels, shape, "stretch", nearest=False, empty=0) for picture in pictures]
    images = judge_input(np.stack(shown).astype(np.uint8, copy=False)).to(judges.device)
    return torch.cat([network.features(images).float() for network in judges.networks.values()], 1).cpu().numpy()
