"""Networks trained on synthetic images, on some of a user's photographs and on both, scored on others of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import IGNORE
from dentgen.errors import SpecError
from dentgen.evaluation.photos.labelled_images import LabelledImages, read_synthetic
from dentgen.evaluation.photos.network import NUMBERS, PhotoNetwork
from dentgen.evaluation.photos.real_photos import read_photos
from dentgen.evaluation.photos.scores import score
from dentgen.evaluation.photos.tooth_numbers import number_figures
from dentgen.evaluation.photos.training import TrainingSettings, predict, train_network
from dentgen.seeding import numpy_generator

#: Columns of the table by figure.
_COLUMNS: Final = {
    "iou": "tooth IoU", "iou_close_ups": "in close-ups", "instance_f1": "single teeth F1",
    "instance_count_error": "error in their count", "lesion_iou": "lesion IoU", "lesion_ap": "lesion AP",
    "number_accuracy": "tooth numbers told",
    "number_type_accuracy": "types told",
}  # fmt: skip
_MOST_NUMBERED: Final = 1000
#: Training images for a seed.
_Sets = Callable[[int], list[LabelledImages]]


@dataclass(frozen=True, slots=True)
class PhotoStudy:
    """What is compared.

    Attributes:
        train, test: Folders of labelled photographs to learn from and to be scored on.
        synthetic: A finished build, or condition records with reference pictures.
        counts: Numbers of real photographs; None is all of them.
        images: Largest number of synthetic images.
        size: Edge of all images, a multiple of 32.
        seeds: Seeds of weights, batches and the choice of photographs.
        training: Length of every training.
        numbered: Photographs with FDI maps to be scored on, as condition records; None for none.
    """

    train: str
    test: str
    synthetic: str
    counts: tuple[int | None, ...] = (10, 50, None)
    images: int = 800
    size: int = 128
    seeds: tuple[int, ...] = (0, 1, 2)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    numbered: str | None = None


@dataclass(frozen=True, slots=True)
class Arm:
    """One set of training images.

    Attributes:
        name: "synthetic", "real N" or "both N".
        real: Number of real photographs, 0 for none.
        runs: Figures of one training per seed, by name, as ``Scores.figures`` and ``number_figures`` give them. Those
            of lesions and numbers are left out where no image is annotated with them.
    """

    name: str
    real: int
    runs: tuple[Mapping[str, float], ...]

    def figures(self) -> dict[str, float]:
        """Means over seeds."""
        return {name: float(values.mean()) for name, values in self._runs().items()}

    def spread(self) -> dict[str, float]:
        """Standard deviations over seeds; empty for a single one."""
        if len(self.runs) == 1:
            return {}
        return {name: float(values.std(ddof=1)) for name, values in self._runs().items()}

    def _runs(self) -> dict[str, NDArray[np.float64]]:
        return {name: np.array([run[name] for run in self.runs]) for name in self.runs[0]}


def parse_counts(text: str) -> tuple[int | None, ...]:
    """Numbers of photographs from a text such as "10,50,all"; all is None.

    Raises:
        SpecError: If a part is neither a positive number nor "all".
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part == "all" or (part.isdecimal() and int(part) > 0) for part in parts):
        raise SpecError(key="--real", found=text, expected="positive whole numbers or 'all', separated by commas")
    return tuple(None if part == "all" else int(part) for part in parts)


def measure_photos(study: PhotoStudy) -> list[Arm]:
    """Train and score all arms.

    Raises:
        SpecError: If the size is no multiple of 32, or there are fewer photographs than asked for.
        ConditionError: If an image or a label is missing or damaged.
    """
    if study.size % 32:
        raise SpecError(key="size", found=study.size, expected="a multiple of 32")
    real, test = read_photos(study.train, study.size), read_photos(study.test, study.size)
    wanted = max([count for count in study.counts if count is not None], default=0)
    if wanted > len(real):
        raise SpecError(key="--real", file=study.train, found=f"{len(real)} photographs", expected=f"at least {wanted}")
    _require_apart(study, real, test)
    synthetic = read_synthetic(study.synthetic, study.images, study.size)
    numbered = None if study.numbered is None else read_synthetic(study.numbered, _MOST_NUMBERED, study.size)
    return list(_arms(study, synthetic, real, _Tests(test, numbered)))


def _require_apart(study: PhotoStudy, real: LabelledImages, test: LabelledImages) -> None:
    """No photograph may be learnt from and be scored on."""
    learnt = {image.tobytes(): key for key, image in zip(real.keys, real.images, strict=True)}
    for key, image in zip(test.keys, test.images, strict=True):
        if image.tobytes() in learnt:
            found = f"{key}, which is {learnt[image.tobytes()]} of {study.train}"
            raise SpecError(key="test", file=study.test, found=found, expected="other photographs")


@dataclass(frozen=True, slots=True)
class _Tests:
    """What networks are scored on: photographs of teeth and lesions, and others with tooth numbers."""

    photos: LabelledImages
    numbered: LabelledImages | None


def _arms(study: PhotoStudy, synthetic: LabelledImages, real: LabelledImages, tests: _Tests) -> Iterator[Arm]:
    yield _arm("synthetic", 0, study, tests, partial(_sets, lambda _: synthetic, ()))
    for number in dict.fromkeys(len(real) if count is None else count for count in study.counts):
        some = partial(_some, real, number)
        yield _arm(f"real {number}", number, study, tests, partial(_sets, some, ()))
        yield _arm(f"both {number}", number, study, tests, partial(_sets, some, (synthetic,)))


def _arm(name: str, number: int, study: PhotoStudy, tests: _Tests, sets: _Sets) -> Arm:
    runs = []
    for seed in study.seeds:
        learnt = sets(seed)
        network = train_network(learnt, study.training, seed, f"{name}, seed {seed}")
        runs.append(_figures(network, learnt, tests))
    return Arm(name, number, tuple(runs))


def _figures(network: PhotoNetwork, learnt: Sequence[LabelledImages], tests: _Tests) -> dict[str, float]:
    figures = score(predict(network, tests.photos.images), tests.photos).figures()
    if not any((images.lesion != IGNORE).any() for images in learnt):
        figures = {name: value for name, value in figures.items() if not name.startswith("lesion")}
    if tests.numbered is not None and any(images.has_numbers for images in learnt):
        found = predict(network, tests.numbered.images)
        figures |= number_figures(found[:, NUMBERS:], tests.numbered.numbers)
    return figures


def _sets(some: Callable[[int], LabelledImages], others: tuple[LabelledImages, ...], seed: int) -> list[LabelledImages]:
    return [some(seed), *others]


def _some(real: LabelledImages, count: int, seed: int) -> LabelledImages:
    """The first photographs of a random order, so that ten are among the fifty."""
    return real.take(numpy_generator(seed, "photographs").permutation(len(real))[:count])


def study_figures(arms: list[Arm]) -> dict[str, float]:
    """Figures of all arms under names for JSON.

    Returns:
        ``FIGURE_synthetic``, and ``FIGURE_real_N`` and ``FIGURE_both_N`` per number of photographs, with their
        deviations over several seeds as ``..._sd``; FIGURE is one of ``Arm.runs``.
    """
    figures: dict[str, float] = {}
    for arm in arms:
        suffix = arm.name.replace(" ", "_")
        figures |= {f"{name}_{suffix}": value for name, value in arm.figures().items()}
        figures |= {f"{name}_{suffix}_sd": value for name, value in arm.spread().items()}
    return figures


def study_table(arms: list[Arm]) -> list[str]:
    """Lines of a Markdown table, one per arm."""
    columns = {name: title for name, title in _COLUMNS.items() if any(name in arm.figures() for arm in arms)}
    lines = [f"| learnt from | {' | '.join(columns.values())} |", "|---" * (len(columns) + 1) + "|"]
    for arm in arms:
        mean, spread = arm.figures(), arm.spread()
        cells = [_cell(mean.get(name), spread.get(name)) for name in columns]
        lines.append(f"| {arm.name} | {' | '.join(cells)} |")
    return lines


def _cell(mean: float | None, spread: float | None) -> str:
    if mean is None:
        return "not learnt"
    return f"{mean:.3f}" if spread is None else f"{mean:.3f} ± {spread:.3f}"
