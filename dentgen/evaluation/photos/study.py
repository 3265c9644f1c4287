"""Networks trained on synthetic images, on some of a user's photographs and on both, scored on others of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import IGNORE
from dentgen.errors import SpecError
from dentgen.evaluation.photos.labelled_images import LabelledImages, read_synthetic
from dentgen.evaluation.photos.scores import Scores, score
from dentgen.evaluation.photos.supervisely import read_photos
from dentgen.evaluation.photos.training import TrainingSettings, predict, train_network
from dentgen.seeding import numpy_generator

#: Columns of the table by figure.
_COLUMNS: Final = {
    "iou": "tooth IoU", "instance_f1": "single teeth F1", "instance_count_error": "error in number",
    "lesion_iou": "lesion IoU",
}  # fmt: skip
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
    """

    train: str
    test: str
    synthetic: str
    counts: tuple[int | None, ...] = (10, 50, None)
    images: int = 800
    size: int = 128
    seeds: tuple[int, ...] = (0, 1, 2)
    training: TrainingSettings = field(default_factory=TrainingSettings)


@dataclass(frozen=True, slots=True)
class Arm:
    """One set of training images.

    Attributes:
        name: "synthetic", "real N" or "both N".
        real: Number of real photographs, 0 for none.
        scores: One per seed.
        lesions: Whether its images are annotated with lesions; a build's are not.
    """

    name: str
    real: int
    scores: tuple[Scores, ...]
    lesions: bool

    def figures(self) -> dict[str, float]:
        """Means over seeds, by the names of ``Scores.figures``; of lesions only if there was something to learn."""
        return {name: float(values.mean()) for name, values in self._runs().items()}

    def spread(self) -> dict[str, float]:
        """Standard deviations over seeds; empty for a single one."""
        if len(self.scores) == 1:
            return {}
        return {name: float(values.std(ddof=1)) for name, values in self._runs().items()}

    def _runs(self) -> dict[str, NDArray[np.float64]]:
        runs = [each.figures() for each in self.scores]
        names = [name for name in runs[0] if self.lesions or name != "lesion_iou"]
        return {name: np.array([run[name] for run in runs]) for name in names}


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
    return list(_arms(study, synthetic, real, test))


def _require_apart(study: PhotoStudy, real: LabelledImages, test: LabelledImages) -> None:
    """No photograph may be learnt from and be scored on."""
    learnt = {image.tobytes(): key for key, image in zip(real.keys, real.images, strict=True)}
    for key, image in zip(test.keys, test.images, strict=True):
        if image.tobytes() in learnt:
            found = f"{key}, which is {learnt[image.tobytes()]} of {study.train}"
            raise SpecError(key="test", file=study.test, found=found, expected="other photographs")


def _arms(study: PhotoStudy, synthetic: LabelledImages, real: LabelledImages, test: LabelledImages) -> Iterator[Arm]:
    yield _arm("synthetic", 0, study, test, partial(_sets, lambda _: synthetic, ()))
    for number in dict.fromkeys(len(real) if count is None else count for count in study.counts):
        some = partial(_some, real, number)
        yield _arm(f"real {number}", number, study, test, partial(_sets, some, ()))
        yield _arm(f"both {number}", number, study, test, partial(_sets, some, (synthetic,)))


def _arm(name: str, number: int, study: PhotoStudy, test: LabelledImages, sets: _Sets) -> Arm:
    scores, lesions = [], False
    for seed in study.seeds:
        learnt = sets(seed)
        network = train_network(learnt, study.training, seed, f"{name}, seed {seed}")
        scores.append(score(predict(network, test.images), test))
        lesions = any((images.lesion != IGNORE).any() for images in learnt)
    return Arm(name, number, tuple(scores), lesions)


def _sets(some: Callable[[int], LabelledImages], others: tuple[LabelledImages, ...], seed: int) -> list[LabelledImages]:
    return [some(seed), *others]


def _some(real: LabelledImages, count: int, seed: int) -> LabelledImages:
    """The first photographs of a random order, so that ten are among the fifty."""
    return real.take(numpy_generator(seed, "photographs").permutation(len(real))[:count])


def study_figures(arms: list[Arm]) -> dict[str, float]:
    """Figures of all arms under names for JSON.

    Returns:
        ``FIGURE_synthetic``, and ``FIGURE_real_N`` and ``FIGURE_both_N`` per number of photographs, with their
        deviations over several seeds as ``..._sd``; FIGURE is one of ``Scores.figures``.
    """
    figures: dict[str, float] = {}
    for arm in arms:
        suffix = arm.name.replace(" ", "_")
        figures |= {f"{name}_{suffix}": value for name, value in arm.figures().items()}
        figures |= {f"{name}_{suffix}_sd": value for name, value in arm.spread().items()}
    return figures


def study_table(arms: list[Arm]) -> list[str]:
    """Lines of a Markdown table, one per arm."""
    lines = [f"| learnt from | {' | '.join(_COLUMNS.values())} |", "|---|---|---|---|---|"]
    for arm in arms:
        mean, spread = arm.figures(), arm.spread()
        cells = [_cell(mean.get(name), spread.get(name)) for name in _COLUMNS]
        lines.append(f"| {arm.name} | {' | '.join(cells)} |")
    return lines


def _cell(mean: float | None, spread: float | None) -> str:
    if mean is None:
        return "not learnt"
    return f"{mean:.3f}" if spread is None else f"{mean:.3f} ± {spread:.3f}"
