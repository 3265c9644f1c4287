"""Ways of conditioning side by side: a plain sum of single-condition adapters (A) against one for the blend (D).

Each way is a spec; its adapters come in several bundles that differ in the training's seed, so that a difference can be
held against the spread. Pictures of all ways are of the same records with the same noise, judged by the same judges.
Refuses to know how adapters were trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.errors import SpecError
from dentgen.evaluation.generated_images import generated_pictures
from dentgen.evaluation.judge_cache import DEFAULT_JUDGES, JudgeSettings, kept_segmenters
from dentgen.evaluation.judges import DilatedSegmenter, Segmenter, judge_labels
from dentgen.evaluation.reference_set import JUDGE_SEED, TEST_SEED, ReferenceSet, reference_set
from dentgen.quality.map_agreement import Maps, judged_figures, seen_figures
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import read_spec

#: The two ways that are compared if none is named, as changes of the spec.
DEFAULT_WAYS: Final[tuple[tuple[str, ...], ...]] = (
    ("A", "conditions.combine=sum", "model.adapters={segmentation: 1.0, lighting: 1.0}"),
    ("D", "conditions.combine=blend", "model.adapters={blended: 1.0}"),
)
REFERENCE: Final = "reference"


@dataclass(frozen=True, slots=True)
class StudySettings:
    """Sizes of the study.

    Attributes:
        work: Folder for phantoms, judges and builds, the same as for fidelity.
        ways: Specs of every way by its name, one for each bundle.
        test_records: Records that are measured.
        variants: Pictures of each record.
        judges: What judges learn from, and how long.
    """

    work: str
    ways: Mapping[str, Sequence[BuildSpec]]
    test_records: int = 256
    variants: int = 2
    judges: JudgeSettings = DEFAULT_JUDGES


def read_ways(
    path: Path, overrides: Sequence[str], ways: Sequence[Sequence[str]], bundles: Sequence[Sequence[str]]
) -> dict[str, list[BuildSpec]]:
    """Specs of every way, one for each of its bundles.

    Args:
        path: Spec that all ways start from.
        overrides: Changes of it for all ways.
        ways: Name of each way, then its own changes (``a.b=value``), or a spec file that takes the place of ``path``.
        bundles: Name of a way, then bundles that hold its adapters; a way without any has the spec's bundle.

    Raises:
        SpecError: If a spec is wrong, bundles are of no way, or sizes of pictures differ.
    """
    named = {name: settings for name, *settings in ways or DEFAULT_WAYS}
    folders = {name: found for name, *found in bundles}
    if unknown := sorted(folders.keys() - named.keys()):
        raise SpecError(f"--bundles: found ways {unknown}, expected some of {sorted(named)}")
    specs = {name: _way(path, overrides, settings, folders.get(name, [])) for name, settings in named.items()}
    sizes = {name: found[0].conditions.size for name, found in specs.items()}
    if len(set(sizes.values())) > 1:
        raise SpecError(f"conditions.size: found {sizes}, expected one size for all ways")
    return specs


def _way(path: Path, overrides: Sequence[str], settings: Sequence[str], bundles: Sequence[str]) -> list[BuildSpec]:
    files = [setting for setting in settings if "=" not in setting]
    if len(files) > 1:
        raise SpecError(f"--way: found spec files {files}, expected at most one")
    changes = [*overrides, *(setting for setting in settings if "=" in setting)]
    chosen = [[f"model.bundle={bundle}"] for bundle in bundles] or [[]]
    return [read_spec(files[0] if files else path, [*changes, *bundle]) for bundle in chosen]


def compare_adapters(settings: StudySettings) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Figures by way and name, a value for each bundle of the way.

    Names are those of ``judged_figures``, for each judge ("boundary_f1 unet"), ``light_correlation``, and two for
    ghosts, which are contours where no tooth ends. ``interior_edges``: edge energy inside single teeth over that of the
    reference pictures; softness lowers it and can hide a ghost. ``ghost_edges``: ``stray_edges``, which softness moves
    less because it lowers outlines too, over that of the reference pictures. Above 1 there is more contour inside teeth
    than there should be, a ghost's or texture's. ``tooth_pieces`` sees ghosts of the other kind: teeth drawn twice, far
    enough apart to be judged two. None tells a ghost from other mistakes of its kind: look at the pictures. "reference"
    is the row of the reference pictures.
    """
    first = next(iter(settings.ways.values()))[0]
    learnt = reference_set(settings.work, settings.judges.records, JUDGE_SEED, first.conditions.size)
    test = reference_set(settings.work, settings.test_records, TEST_SEED, first.conditions.size)
    judges = kept_segmenters(settings.work, learnt.photos, learnt.seg, settings.judges)
    real = _figures(judges, test, test.photos[:, None])
    found = {}
    for way, specs in settings.ways.items():
        runs = [
            _figures(judges, test, generated_pictures(settings.work, spec, test, variants=settings.variants))
            for spec in specs
        ]
        found[way] = {name: np.array([run[name] for run in runs]) for name in real}
    found[REFERENCE] = {name: np.array([value]) for name, value in real.items()}
    return {way: _with_ghosts(figures, real) for way, figures in found.items()}


def _figures(
    judges: Mapping[str, Segmenter | DilatedSegmenter], test: ReferenceSet, variants: NDArray[np.uint8]
) -> dict[str, float]:
    maps = Maps(test.seg, test.fdi, test.light).repeated(variants.shape[1])
    pictures = variants.reshape(-1, *variants.shape[2:])
    judged = {name: judged_figures(judge_labels(judge, pictures), maps) for name, judge in judges.items()}
    by_judge = {f"{figure} {name}": value for name, found in judged.items() for figure, value in found.items()}
    return by_judge | seen_figures(pictures, maps)


def _with_ghosts(figures: dict[str, NDArray[np.float64]], real: Mapping[str, float]) -> dict[str, NDArray[np.float64]]:
    """Edges over those of the reference pictures."""
    others = {name: values for name, values in figures.items() if not name.endswith("_edges")}
    return others | {
        "interior_edges": figures["interior_edges"] / real["interior_edges"],
        "ghost_edges": figures["stray_edges"] / real["stray_edges"],
    }


def study_figures(found: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> dict[str, float]:
    """Mean, spread and number of every figure of every way, by one name each."""
    figures: dict[str, float] = {}
    for way, values in found.items():
        for name, runs in values.items():
            stem = f"{way}_{name.replace(' ', '_')}"
            figures |= {f"{stem}_mean": float(runs.mean()), f"{stem}_spread": _spread(runs)}
        figures[f"{way}_bundles"] = float(len(next(iter(values.values()))))
    return figures


def study_table(found: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> list[str]:
    """A line for every figure, mean and spread of every way beside each other."""
    ways = list(found)
    lines = ["".join([f"{'':22s}", *(f"{way:>20s}" for way in ways)])]
    for name in found[ways[0]]:
        cells = [_cell(found[way][name]) for way in ways]
        lines.append("".join([f"{name:22s}", *(f"{cell:>20s}" for cell in cells)]))
    return lines


def _cell(runs: NDArray[np.float64]) -> str:
    return f"{runs.mean():.4f} +- {_spread(runs):.4f}" if len(runs) > 1 else f"{runs.mean():.4f}          "


def _spread(runs: NDArray[np.float64]) -> float:
    """Sample standard deviation over bundles; NaN for a single one."""
    return float(runs.std(ddof=1)) if len(runs) > 1 else float("nan")
