"""Memorisation: generated pictures beside their nearest training pictures, as held-out pictures lie beside them.

A model that has learnt a distribution makes pictures that are as far from the training pictures as other pictures of
the same kind are. What is nearer than hardly any held-out picture may have been memorised, and what has the same
perceptual hash is a copy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.curation.features import Features, Scale, picture_features
from dentgen.curation.fingerprints import picture_fingerprints
from dentgen.curation.near_duplicates import near_pairs_between
from dentgen.curation.pictures import Picture, read_pictures
from dentgen.curation.samples import texts, written_samples
from dentgen.errors import ConditionError
from dentgen.models.judges import Judges, load_judges
from dentgen.seeding import derive_seed
from dentgen.spec.quality import EMBEDDED

#: Share of the held-out pictures that are nearer to a training picture than the limit: what chance gives.
CHANCE: Final = 0.01
#: Nearest pairs that are told.
_PAIRS: Final = 10
#: Distances in memory at a time.
_BLOCK: Final = 2**22


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Features and prints of n pictures.

    Attributes:
        features: Their features, as they are.
        words: (n, 4) uint64 prints.
    """

    features: Features
    words: NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """A generated picture and its nearest training picture.

    Attributes:
        generated: Key of the sample.
        training: Key of the training picture.
        distance: Between their features, in standard deviations of the training pictures.
        bits: In which their prints differ, for copies; None for other pairs.
    """

    generated: str
    training: str
    distance: float
    bits: int | None = None


@dataclass(frozen=True, slots=True)
class Memorisation:
    """What was found.

    Attributes:
        figures: ``share_near``: share of the generated pictures that are nearer to a training picture than 1 % of the
            held-out ones are; 0.01 is chance. ``median_ratio``: median distance of generated pictures over that of
            held-out ones. ``copies``, ``held_out_copies``: pictures whose print differs from that of a training picture
            in at most 15 bits. ``limit``: the distance. ``generated``, ``training``, ``held_out``: pictures.
        nearest: The ten nearest pairs in feature space, the nearest first.
        copies: Every copy with the training picture whose print is most like it.
    """

    figures: dict[str, float]
    nearest: tuple[Neighbours, ...]
    copies: tuple[Neighbours, ...]


def measure_memorisation(
    out: str, training: str, held_out: str, judges: str = EMBEDDED, count: int | None = None
) -> Memorisation:  # fmt: skip
    """Compare the pictures of a build with those that its model was trained on.

    Args:
        out: A finished build.
        training: What the model was trained on: a finished build, or condition records with photos.
        held_out: Pictures of the same kind that it was not trained on.
        judges: ``embedded``, or a folder or URL.
        count: Generated pictures to look at, drawn by key; None for all.

    Raises:
        BuildError: If the build is not finished, or a shard is damaged.
        BundleError: If the judges cannot be loaded.
        ConditionError: If one of the three has no pictures.
        StorageError: If something cannot be read.
    """
    loaded = load_judges(judges)
    generated = look_at(read_pictures(out, drawn_keys(out, count)), loaded)
    return compare(
        generated, look_at(read_pictures(training), loaded), look_at(read_pictures(held_out), loaded)
    )  # fmt: skip


def drawn_keys(out: str, count: int | None) -> list[str]:
    """Keys of written samples, ``count`` of them drawn by key; None for all.

    Raises:
        BuildError: If the build is not finished.
        StorageError: If its table of samples cannot be read.
    """
    keys = texts(written_samples(out, []), "key")
    return keys if count is None else sorted(keys, key=lambda key: derive_seed(0, "memorisation", key))[:count]


def look_at(pictures: Iterable[Picture], judges: Judges) -> Seen:
    """Features and prints of pictures, which are read once.

    Raises:
        ConditionError: If there are none.
    """
    words = list[NDArray[np.uint64]]()

    def printed() -> Iterable[Picture]:
        for picture in pictures:
            words.append(picture_fingerprints([picture]).words)
            yield picture

    features = picture_features(printed(), judges)
    return Seen(features, np.concatenate(words))


def compare(generated: Seen, training: Seen, held_out: Seen) -> Memorisation:
    """Compare generated pictures with training pictures, beside held-out ones.

    Raises:
        ConditionError: If all held-out pictures are training pictures.
    """
    scale = Scale.of(training.features)
    known, made, other = (scale.standardised(seen.features) for seen in (training, generated, held_out))
    nearest, distances = nearest_rows(made.values, known.values)
    _, usual = nearest_rows(other.values, known.values)
    if not usual.max() > 0:
        raise ConditionError("the held-out pictures", "training pictures alone", "pictures that are not among them")
    limit = float(np.quantile(usual, CHANCE))
    copies = _copies(generated, training, made, known)
    figures = {
        "share_near": float((distances < limit).mean()),
        "median_ratio": float(np.median(distances) / max(float(np.median(usual)), 1e-12)),
        "copies": float(len(copies)),
        "held_out_copies": float(len(set(near_pairs_between(held_out.words, training.words).first.tolist()))),
        "limit": limit,
        **{name: float(len(each)) for name, each in (("generated", made), ("training", known), ("held_out", other))},
    }
    order = np.argsort(distances, kind="stable")[:_PAIRS].tolist()
    pairs = (Neighbours(made.keys[i], known.keys[int(nearest[i])], float(distances[i])) for i in order)
    return Memorisation(figures, tuple(pairs), copies)


def nearest_rows(
    queries: NDArray[np.float32], known: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:  # fmt: skip
    """The nearest known row of every query.

    Args:
        queries: (n, d).
        known: (m, d).

    Returns:
        (n,) positions and Euclidean distances.
    """
    rows = max(1, _BLOCK // max(1, len(known)))
    squares = np.square(known).sum(1)
    parts = [
        (squares - 2 * (queries[start : start + rows] @ known.T)).argmin(1) for start in range(0, len(queries), rows)
    ]
    nearest = np.concatenate(parts) if parts else np.empty(0, np.int64)
    apart = np.square(queries - known[nearest]).sum(1, dtype=np.float64)  # exactly, because copies cancel above
    return nearest, np.sqrt(apart)


def _copies(generated: Seen, training: Seen, made: Features, known: Features) -> tuple[Neighbours, ...]:
    """Generated pictures that have the print of a training picture, each with the one that is most like it."""
    pairs = near_pairs_between(generated.words, training.words)
    best: dict[int, tuple[int, int]] = {}
    for i, j, bits in zip(pairs.first.tolist(), pairs.second.tolist(), pairs.bits.tolist(), strict=True):
        best[i] = min(best.get(i, (bits, j)), (bits, j))
    return tuple(
        Neighbours(made.keys[i], known.keys[j], float(np.linalg.norm(made.values[i] - known.values[j])), bits)
        for i, (bits, j) in best.items()
    )
