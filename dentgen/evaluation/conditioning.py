"""Compare ways of conditioning: a plain sum of single-condition adapters (A), one adapter for the blend (D), or others.

Each way is a spec. Its adapters may come in several bundles that differ only in the training seed, so that a difference
between ways can be held against the spread within one. All ways generate from the same records with the same noise and
are scored by the same judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.errors import SpecError
from dentgen.evaluation.generated_images import generated_images
from dentgen.evaluation.judge_cache import cached_segmenters
from dentgen.evaluation.judge_settings import DEFAULT_JUDGES, JudgeSettings
from dentgen.evaluation.judges import judge_labels
from dentgen.evaluation.mouth_distance import mouth_distance
from dentgen.evaluation.reference_set import JUDGE_SEED, TEST_SEED, ReferenceSet, reference_set
from dentgen.evaluation.ways_sheet import write_ways_sheet
from dentgen.models.judge_networks import DilatedSegmenter, Segmenter
from dentgen.models.native_size import with_size
from dentgen.progress import tracked
from dentgen.quality.map_agreement import Maps, judged_figures, seen_figures
from dentgen.quality.metrics import variant_spread
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import read_spec

#: The two ways compared by default: a name, then changes to the spec.
DEFAULT_WAYS: Final[tuple[tuple[str, ...], ...]] = (
    ("A", "conditions.combine=sum", "model.adapters={segmentation: 1.0, lighting: 1.0}"),
    ("D", "conditions.combine=blend", "model.adapters={blended: 1.0}"),
)
REFERENCE: Final = "reference"
#: Records of the sheet.
_SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class ConditioningSettings:
    """Sizes of the comparison.

    Attributes:
        work: Folder for phantoms, judges and builds, shared with the other evaluations.
        ways: Specs of every way by its name, one per bundle.
        test_records: Records to measure on.
        variants: Images per record.
        judges: Training of the judges.
        sheet: PNG of some records as each way's first bundle draws them; None: none.
    """

    work: str
    ways: Mapping[str, Sequence[BuildSpec]]
    test_records: int = 256
    variants: int = 2
    judges: JudgeSettings = DEFAULT_JUDGES
    sheet: str | None = None


def read_ways(
    path: Path, overrides: Sequence[str], ways: Sequence[Sequence[str]], bundles: Sequence[Sequence[str]]
) -> dict[str, list[BuildSpec]]:
    """Read the specs of every way, one per bundle.

    Args:
        path: Spec that all ways start from.
        overrides: ``a.b=value`` changes common to all ways.
        ways: A way's name, then its own changes (``a.b=value``) or a spec file that replaces ``path``.
        bundles: A way's name, then the bundles that hold its adapters; a way not listed uses its spec's bundle.

    Raises:
        SpecError: If a spec is wrong, a bundle belongs to no way, or the ways differ in image size.
    """
    named = {name: settings for name, *settings in ways or DEFAULT_WAYS}
    folders = {name: listed for name, *listed in bundles}
    if unknown := sorted(folders.keys() - named.keys()):
        raise SpecError(key="--bundle", found=", ".join(unknown), expected=f"one of the ways {', '.join(named)}")
    specs = {name: _read_way(path, overrides, changes, folders.get(name, [])) for name, changes in named.items()}
    sizes = {name: way[0].conditions.edge for name, way in specs.items()}
    if len(set(sizes.values())) > 1:
        raise SpecError(
            key="conditions.size",
            found=", ".join(f"{size} in {name}" for name, size in sizes.items()),
            expected="the same size in all ways",
        )
    return specs


def _read_way(path: Path, overrides: Sequence[str], settings: Sequence[str], bundles: Sequence[str]) -> list[BuildSpec]:
    files = [setting for setting in settings if "=" not in setting]
    if len(files) > 1:
        raise SpecError(key="--way", found=f"spec files {', '.join(files)}", expected="at most one spec file per way")
    changes = [*overrides, *(setting for setting in settings if "=" in setting)]
    chosen = [[f"model.bundle={bundle}"] for bundle in bundles] or [[]]
    return [with_size(read_spec(files[0] if files else path, [*changes, *bundle])) for bundle in chosen]


def require_way(ways: Mapping[str, Sequence[BuildSpec]], baseline: str) -> None:
    """Check the name of a baseline.

    Raises:
        SpecError: If no way has it.
    """
    if baseline not in ways:
        raise SpecError(key="--baseline", found=baseline, expected=f"one of the ways {', '.join(ways)}")


def compare_conditioning(settings: ConditioningSettings) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Measure every way; figures by way and name, one value per bundle.

    Names are those of ``judged_figures`` for each judge ("boundary_f1 unet"), those of ``seen_figures``,
    ``kernel_distance`` to reference images of other mouths in each judge's features, ``spread_variants`` (mean standard
    deviation between variants of a record, levels of 255), and two relative to the reference images that look for
    ghosts (contours where no tooth ends):

    * ``interior_edges``: edge energy inside single teeth. Blur lowers it and can hide a ghost.
    * ``ghost_edges``: ``stray_edges``, which blur moves less because it weakens outlines too.

    Above 1 there is more contour inside teeth than there should be, from a ghost or from texture. ``tooth_pieces``
    catches the other kind of ghost: a tooth drawn twice, far enough apart to be judged two. No figure tells a ghost
    from other mistakes of its kind: look at the images. The way "reference" holds the reference images' own figures.
    """
    first = next(iter(settings.ways.values()))[0]
    training = reference_set(settings.work, settings.judges.records, JUDGE_SEED, first.conditions.edge)
    test = reference_set(settings.work, settings.test_records, TEST_SEED, first.conditions.edge)
    judges = cached_segmenters(settings.work, training.photos, training.seg, settings.judges)
    real = _figures(judges, test, test.photos[:, None])
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in settings.ways}
    shown: dict[str, NDArray[np.uint8]] = {}
    for way, spec in tracked([(way, spec) for way, specs in settings.ways.items() for spec in specs], "ways", "way"):
        images = generated_images(settings.work, spec, test, variants=settings.variants)
        shown.setdefault(way, images[:, 0])
        runs[way].append(_figures(judges, test, images))
    if settings.sheet is not None:
        write_ways_sheet(settings.sheet, test, shown, _SHOWN)
    figures = {way: {name: np.array([run[name] for run in runs[way]]) for name in real} for way in runs}
    figures[REFERENCE] = {name: np.array([value]) for name, value in real.items()}
    return {way: _edges_over_reference(values, real) for way, values in figures.items()}


def _figures(
    judges: Mapping[str, Segmenter | DilatedSegmenter], test: ReferenceSet, variants: NDArray[np.uint8]
) -> dict[str, float]:
    maps = Maps(test.seg, test.fdi, test.light).repeated(variants.shape[1])
    images = variants.reshape(-1, *variants.shape[2:])
    by_judge = {
        f"{figure} {name}": value
        for name, judge in judges.items()
        for figure, value in judged_figures(judge_labels(judge, images), maps).items()
    }
    distances = {
        f"kernel_distance {name}": mouth_distance(judge, test, variants[:, 0])[0] for name, judge in judges.items()
    }
    spread = {"spread_variants": float(np.mean([variant_spread(each) for each in variants]))}
    return by_judge | seen_figures(images, maps) | distances | spread


def _edges_over_reference(
    figures: dict[str, NDArray[np.float64]], real: Mapping[str, float]
) -> dict[str, NDArray[np.float64]]:
    others = {name: values for name, values in figures.items() if not name.endswith("_edges")}
    return others | {
        "interior_edges": figures["interior_edges"] / real["interior_edges"],
        "ghost_edges": figures["stray_edges"] / real["stray_edges"],
    }


def conditioning_figures(by_way: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> dict[str, float]:
    """Flatten to ``WAY_NAME_mean``, ``WAY_NAME_spread`` and ``WAY_bundles``."""
    figures: dict[str, float] = {}
    for way, values in by_way.items():
        for name, runs in values.items():
            stem = f"{way}_{name.replace(' ', '_')}"
            figures |= {f"{stem}_mean": float(runs.mean()), f"{stem}_spread": _spread(runs)}
        figures[f"{way}_bundles"] = float(len(next(iter(values.values()))))
    return figures


def conditioning_table(by_way: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> list[str]:
    """Format as aligned text: a line per figure, mean and spread of every way side by side."""
    ways = list(by_way)
    lines = ["".join([f"{'':22s}", *(f"{way:>20s}" for way in ways)])]
    for name in by_way[ways[0]]:
        cells = [_cell(by_way[way][name]) for way in ways]
        lines.append("".join([f"{name:22s}", *(f"{cell:>20s}" for cell in cells)]))
    return lines


def _cell(runs: NDArray[np.float64]) -> str:
    return f"{runs.mean():.4f} +- {_spread(runs):.4f}" if len(runs) > 1 else f"{runs.mean():.4f}          "


def _spread(runs: NDArray[np.float64]) -> float:
    """Sample standard deviation over bundles; NaN for a single one."""
    return float(runs.std(ddof=1)) if len(runs) > 1 else float("nan")
