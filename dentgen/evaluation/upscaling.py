"""Pictures of twice the size, by Lanczos' filter, image-to-image in windows and other tools, against the truth.

The truth are phantoms rendered at the full size; what is enlarged are the same phantoms rendered at half of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dentgen import storage
from dentgen.conditions.decode import decode_record
from dentgen.conditions.enlarge import enlarged_picture
from dentgen.conditions.readers.raw import RecordRange
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.errors import ConditionError
from dentgen.evaluation.generated_images import generated_images
from dentgen.evaluation.judge_cache import cached_segmenters
from dentgen.evaluation.judge_settings import DEFAULT_JUDGES, JudgeSettings
from dentgen.evaluation.reference_set import JUDGE_SEED, TEST_SEED, ReferenceSet, reference_set
from dentgen.evaluation.upscaling_scores import Images, Score, Truth, scores
from dentgen.shards.tar import png_bytes
from dentgen.spec.build import BuildSpec

FACTOR: Final = 2
#: Rows of the sheet, and the edge of the part of a picture that it shows, of the full size.
_SHEET_ROWS: Final = 3
_SHEET_PART: Final = 0.5


@dataclass(frozen=True, slots=True)
class UpscalingSettings:
    """Sizes of the comparison.

    Attributes:
        work: Folder for phantoms, judges and builds.
        spec: Model and sampling; its size, resolved, is that of the small pictures and of the windows.
        strengths: Strengths of image-to-image.
        records: Phantoms to enlarge.
        others: Folders with KEY.png of the full size, made by other tools from the small pictures, by name.
        judges: Training of the judges.
    """

    work: str
    spec: BuildSpec
    strengths: tuple[float, ...] = (0.1, 0.3, 0.5)
    records: int = 40
    others: Mapping[str, str] | None = None
    judges: JudgeSettings = DEFAULT_JUDGES


@dataclass(frozen=True, slots=True, eq=False)
class Upscaling:
    """The result: scores by way and name, the sheet's file, and the folder with the small pictures."""

    scores: dict[str, dict[str, Score]]
    sheet: str
    small: str

    @property
    def figures(self) -> dict[str, float]:
        """Means and spreads by ``WAY_NAME`` and ``WAY_NAME_spread``, and numbers by ``WAY_NAME_count``."""
        flat: dict[str, float] = {}
        for way, by_name in self.scores.items():
            for name, score in by_name.items():
                key = f"{way}_{name}"
                flat |= {key: score.mean, f"{key}_spread": score.spread, f"{key}_count": float(score.count)}
        return flat


def measure_upscaling(settings: UpscalingSettings) -> Upscaling:
    """Enlarge phantoms in every way and score the pictures.

    Raises:
        BuildError: If the model fails on a record.
        ConditionError: If another tool's picture is missing or has another size.
    """
    size = settings.spec.conditions.edge
    small = reference_set(settings.work, settings.records, TEST_SEED, size)
    large = reference_set(settings.work, settings.records, TEST_SEED, FACTOR * size)
    training = reference_set(settings.work, settings.judges.records, JUDGE_SEED, FACTOR * size)
    judges = cached_segmenters(settings.work, training.photos, training.seg, settings.judges)
    folder = write_small(settings.work, small)
    ways = _ways(settings, small)
    truth = Truth(large.photos, large.seg, _classes(large), large.fdi, large.light)
    found = {name: scores(pictures, truth, judges) for name, pictures in ways.items()}
    found["truth"] = scores(large.photos, truth, judges)
    sheet = storage.join(settings.work, "upscaling.png")
    storage.overwrite(sheet, png_bytes(_sheet(small.photos, {**ways, "truth": large.photos})))
    return Upscaling(found, sheet, folder)


def write_small(work: str, small: ReferenceSet) -> str:
    """Write the small pictures as KEY.png, for other tools; returns their folder."""
    folder = storage.join(work, "upscaling", storage.name_of(small.source))
    for key, photo in zip(small.keys, small.photos, strict=True):
        storage.overwrite(storage.join(folder, f"{key}.png"), png_bytes(photo))
    return folder


def img2img_spec(spec: BuildSpec, strength: float) -> BuildSpec:
    """The spec with pictures of twice its size, begun from enlarged ones, in windows of its size."""
    size = spec.conditions.edge
    sampling = spec.sampling.model_copy(update={"start_from": "photo", "strength": strength, "window": size})
    changed = spec.model_copy(
        update={"conditions": spec.conditions.model_copy(update={"size": FACTOR * size}), "sampling": sampling}
    )
    return BuildSpec.model_validate(changed.model_dump())


def upscaling_table(found: Upscaling) -> list[str]:
    """A Markdown table, a line per way: means and spreads over pictures."""
    names = list(next(iter(found.scores.values())))
    rows = [
        f"| {way} | " + " | ".join(_cell(by_name[name]) for name in names) + " |"
        for way, by_name in found.scores.items()
    ]
    return ["| way | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|", *rows]


def _cell(score: Score) -> str:
    return f"{score.mean:.3f} ± {score.spread:.3f} (n {score.count})"


def _ways(settings: UpscalingSettings, small: ReferenceSet) -> dict[str, Images]:
    """Enlarged pictures by way."""
    edge = FACTOR * settings.spec.conditions.edge
    ways = {"lanczos": np.stack([enlarged_picture(photo, (edge, edge)) for photo in small.photos])}
    for strength in settings.strengths:
        spec = img2img_spec(settings.spec, strength)
        ways[f"img2img {strength}"] = generated_images(settings.work, spec, small, variants=1)[:, 0]
    for name, folder in (settings.others or {}).items():
        ways[name] = np.stack([_other(Path(folder) / f"{key}.png", edge) for key in small.keys])
    return ways


def _other(file: Path, edge: int) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as image:
            picture = np.asarray(image.convert("RGB"))
    except OSError as error:
        raise ConditionError(str(file), str(error), "a picture made by the other tool") from error
    if picture.shape[:2] != (edge, edge):
        raise ConditionError(str(file), f"{picture.shape[1]} x {picture.shape[0]} pixels", f"{edge} x {edge}")
    return picture


def _classes(large: ReferenceSet) -> Images:
    """Classes (n, H, W) with restorations, which a reference set's tissue classes do not tell from teeth."""
    raws = (raw for shard in list_shards(large.source) for raw in read_records(shard, RecordRange(0, len(large.keys))))
    maps = {raw.key: decode_record(raw, ("segmentation",)).conditions["segmentation"] for raw in raws}
    return np.stack([maps[key] for key in large.keys]).astype(np.uint8)


def _sheet(small: Images, ways: Mapping[str, Images]) -> Images:
    """A row per picture: the middle of the small one, as it is, and of every way and the truth, in their order."""
    edge = next(iter(ways.values())).shape[1]
    chosen = np.linspace(0, len(small) - 1, _SHEET_ROWS).round().astype(int)
    repeated = small.repeat(FACTOR, 1).repeat(FACTOR, 2)
    columns: Sequence[Images] = [repeated, *ways.values()]
    part = slice(round(edge * (1 - _SHEET_PART) / 2), round(edge * (1 + _SHEET_PART) / 2))
    rows = [np.concatenate([pictures[n][part, part] for pictures in columns], 1) for n in chosen]
    return np.concatenate(rows)
