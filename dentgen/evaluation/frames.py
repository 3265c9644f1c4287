"""How far the frames of a series agree, by whose noise they begin with: their own, their series', or moved along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import tissue_classes
from dentgen.evaluation.generated_images import finished_build, read_images
from dentgen.evaluation.series import Series, read_series
from dentgen.models.judges import Judges, load_judges
from dentgen.quality.frame_agreement import flicker, persistence, undone
from dentgen.quality.labelled_pictures import labelled_figures
from dentgen.quality.relit_pairs import identity, inner_teeth, teeth_look
from dentgen.spec.build import BuildSpec

Noise = Literal["record", "series", "motion"]
Pictures = Sequence[NDArray[np.uint8]]
#: Figures of every noise, in the order of the table.
FIGURES: Final = (
    "flicker", "flicker_beyond", "identity", "moves_along", "stays", "miou", "light_correlation",
)  # fmt: skip
REFERENCE: Final = "reference"
#: Frames that the sheet shows, and the factor on differences in it.
_SHOWN, _GAIN = 5, 3.0


@dataclass(frozen=True, slots=True)
class FramesSettings:
    """What is compared.

    Attributes:
        work: Folder or URL that caches builds.
        source: Series of condition records with reference pictures.
        spec: Model, conditions, sampling and engine of all builds.
        seeds: Variants of every frame; a variant's noise is a seed of its own.
        judges: Folder of judges.
    """

    work: str
    source: str
    spec: BuildSpec
    seeds: int = 3
    judges: str = "embedded"


@dataclass(frozen=True, slots=True, eq=False)
class FrameAgreement:
    """What was measured.

    Attributes:
        scores: Mean and standard deviation over seeds, of means over series, by noise and figure.
        series: Number of series.
        sheet: Consecutive frames of the first series and their differences, a row per noise.
    """

    scores: Mapping[str, Mapping[str, tuple[float, float]]]
    series: int
    sheet: NDArray[np.uint8]

    @property
    def figures(self) -> dict[str, float]:
        """``FIGURE_NOISE`` and ``FIGURE_NOISE_spread``."""
        return {
            f"{figure}_{noise}{end}": value
            for noise, by_figure in self.scores.items()
            for figure, score in by_figure.items()
            for end, value in zip(("", "_spread"), score, strict=True)
        }


def measure_frames(settings: FramesSettings) -> FrameAgreement:
    """Build every series with each kind of noise, undo the motion, and compare consecutive frames.

    * ``flicker``: mean absolute difference of consecutive frames at the same points of the surface, 0..255.
    * ``flicker_beyond``: likewise of what is left without the change of the reference pictures.
    * ``identity``: correlation of surfaces within teeth, free of illumination, of consecutive frames.
    * ``moves_along``: correlation, at the same points, of what the noise decides in frames a quarter of the series
      apart, where the surface has moved; what the noise decides is a picture less the mean over its seeds.
    * ``stays``: likewise at the same pixels: ghosting.
    * ``miou``, ``light_correlation``: as judges see every frame.

    ``motion`` is measured where every frame has its motion; ``reference`` are the reference pictures.

    Raises:
        BundleError: If bundle or judges cannot be loaded.
        ConditionError: If the source holds no series, or frames lack reference pictures.
        BuildError: If a build fails or lacks an image.
    """
    judges = load_judges(settings.judges)
    moving = [one.moves for one in read_series(settings.source, settings.spec)]  # checks all before anything is built
    builds = _builds(settings, ("record", "series", "motion") if all(moving) else ("record", "series"))
    scored: dict[str, list[list[dict[str, float]]]] = {name: [] for name in (REFERENCE, *builds)}
    sheets: list[NDArray[np.uint8]] = []
    for one in read_series(settings.source, settings.spec):
        pictures = _pictures(one, builds, settings.seeds)
        for name, found in pictures.items():
            scored[name].append(_seed_scores(judges, one, found))
        sheets = sheets or [_sheet(one, pictures)]
    return FrameAgreement({name: _mean_scores(by) for name, by in scored.items()}, len(moving), sheets[0])


def _builds(settings: FramesSettings, noises: Sequence[Noise]) -> dict[Noise, str]:
    """Finished builds of the source, by noise."""
    found: dict[Noise, str] = {}
    for noise in noises:
        sampling = settings.spec.sampling.model_copy(update={"noise": noise})
        spec = settings.spec.model_copy(update={"sampling": sampling})
        found[noise] = finished_build(settings.work, spec, settings.source, variants=settings.seeds)
    return found


def _pictures(series: Series, builds: Mapping[Noise, str], seeds: int) -> dict[str, NDArray[np.uint8]]:
    """Pictures (frames, seeds, H, W, 3) of one series, by noise; references have one seed."""
    keys = [frame.key for frame in series.frames]
    built: dict[str, NDArray[np.uint8]] = {noise: read_images(out, keys, seeds) for noise, out in builds.items()}
    return {REFERENCE: np.stack([*series.references])[:, None], **built}


def _mean_scores(scored: Sequence[Sequence[Mapping[str, float]]]) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation over seeds, of means over series, of figures by series and seed."""
    seeds = [
        {name: float(np.mean([of_series[seed][name] for of_series in scored])) for name in FIGURES}
        for seed in range(len(scored[0]))
    ]
    return {
        name: (float(np.mean([seed[name] for seed in seeds])), float(np.std([seed[name] for seed in seeds])))
        for name in FIGURES
    }


def _seed_scores(judges: Judges, series: Series, pictures: NDArray[np.uint8]) -> list[dict[str, float]]:
    """Figures of one series, by seed."""
    decided = pictures - pictures.mean(1, keepdims=True) if pictures.shape[1] > 1 else np.zeros(pictures.shape)
    lag = len(pictures) // 4
    return [_scores(judges, series, [*pictures[:, n]], [*decided[:, n]], lag) for n in range(pictures.shape[1])]


def _scores(
    judges: Judges, series: Series, pictures: Pictures, decided: Sequence[NDArray[np.float64]], lag: int
) -> dict[str, float]:
    judged = labelled_figures(judges, pictures, series.frames)
    aligned, kept = undone(pictures, series.places), persistence(decided, series.places, lag)
    return {
        "flicker": flicker(aligned, series.places),
        "flicker_beyond": flicker(aligned, series.places, series.aligned_references),
        "identity": _identity([picture.round().astype(np.uint8) for picture in aligned], series),
        "moves_along": kept.surface,
        "stays": kept.screen,
        "miou": float(np.nanmean(judged["miou"])),
        "light_correlation": float(np.nanmean(judged["light_correlation"])),
    }


def _identity(aligned: Pictures, series: Series) -> float:
    """Mean identity of consecutive frames, at the points of the first one's inner teeth that both see."""
    teeth = inner_teeth(tissue_classes(series.frames[0].conditions["segmentation"].astype(np.uint8)))
    found = []
    for one, other in pairwise(range(len(aligned))):
        inside = teeth & series.places[one].seen & series.places[other].seen
        found.append(identity(teeth_look(aligned[one], inside), teeth_look(aligned[other], inside)))
    return float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")


def frames_table(found: FrameAgreement) -> list[str]:
    """A Markdown table, a line per noise: means and standard deviations over seeds."""
    rows = [
        f"| {noise} | " + " | ".join(f"{mean:.3f} ± {spread:.3f}" for mean, spread in by_figure.values()) + " |"
        for noise, by_figure in found.scores.items()
    ]
    return ["| noise | " + " | ".join(FIGURES) + " |", "|---" * (len(FIGURES) + 1) + "|", *rows]


def _sheet(series: Series, pictures: Mapping[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """A row per noise: consecutive frames of the first seed, then their differences with the motion undone."""
    start = max(0, min(1, len(series.frames) - _SHOWN))
    shown = range(start, min(start + _SHOWN, len(series.frames)))
    rows = []
    for found in pictures.values():
        aligned = undone([found[n, 0] for n in shown], [series.places[n] for n in shown])
        changes = [np.clip(128 + _GAIN * (other - one), 0, 255) for one, other in pairwise(aligned)]
        unseen = [~(series.places[n].seen & series.places[n + 1].seen) for n in shown[:-1]]
        changes = [np.where(hidden[..., None], 128, change) for change, hidden in zip(changes, unseen, strict=True)]
        rows.append(np.concatenate([*(found[n, 0] for n in shown), *changes], 1).astype(np.uint8))
    return np.concatenate(rows)
