"""How well one mouth is drawn under another light: a two-frame LoRA, shared noise, and image-to-image, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dentgen import storage
from dentgen.conditions.decode import decode_record
from dentgen.conditions.labels import tissue_classes
from dentgen.conditions.prepare import fit_record
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.errors import ConditionError
from dentgen.generation.pipeline import Pipeline
from dentgen.generation.pipeline_request import PipelineRequest
from dentgen.models.judges import Judges, load_judges
from dentgen.phantom.prompt import replace_light_words
from dentgen.quality.labelled_pictures import labelled_figures
from dentgen.quality.metrics import light_levels_correlation, luminance
from dentgen.quality.relit_pairs import identity, inner_teeth, light_difference, teeth_look
from dentgen.records import COMPOSITE_MEDIA, ConditionRecord
from dentgen.relight.shading import draw_lightings, shadings
from dentgen.shards.tar import png_bytes
from dentgen.spec.build import BuildSpec

Images = Sequence[NDArray[np.uint8]]
_SHEET_ROWS: Final = 8
#: Views of a phantom patient.
_VIEWS: Final = 5
#: Figures of every way, in the order of the table.
FIGURES: Final = ("identity", "edit_correlation", "light_correlation", "light_difference", "miou")


@dataclass(frozen=True, slots=True)
class RelightingSettings:
    """What is compared.

    Attributes:
        source: Records with segmentation and normals, of mouths that the LoRA has not seen.
        spec: Model, conditions, sampling and engine of all ways, without the LoRA.
        lora: Name of the two-frame LoRA in the bundle.
        scale: Its scale.
        count: Mouths.
        seeds: Seeds of lights and noise; figures are means over them.
        strengths: Strengths of image-to-image.
        judges: Folder of judges.
    """

    source: str
    spec: BuildSpec
    lora: str = "two-frame"
    scale: float = 1.0
    count: int = 64
    seeds: tuple[int, ...] = (0, 1, 2)
    strengths: tuple[float, ...] = (0.4, 0.6, 0.8)
    judges: str = "embedded"


@dataclass(frozen=True, slots=True, eq=False)
class Mouth:
    """One mouth under two lights: the record under the reference's, and the target's lighting map."""

    record: ConditionRecord
    target: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Relighting:
    """What was measured.

    Attributes:
        scores: Mean and standard deviation over seeds, of means over mouths, by way and figure.
        mouths: Number of mouths.
        sheet: Lights, reference and every way's picture, a row per mouth.
    """

    scores: Mapping[str, Mapping[str, tuple[float, float]]]
    mouths: int
    sheet: NDArray[np.uint8]

    @property
    def figures(self) -> dict[str, float]:
        """``FIGURE_WAY`` and ``FIGURE_WAY_spread``."""
        pairs = ((way, name, score) for way, by_name in self.scores.items() for name, score in by_name.items())
        return {
            f"{name}_{way}{end}": value
            for way, name, score in pairs
            for end, value in zip(("", "_spread"), score, strict=True)
        }


def measure_relighting(settings: RelightingSettings) -> Relighting:
    """Draw every mouth under one light, relight the picture in every way, and compare.

    The reference is the model's own picture. ``student`` starts from it with the LoRA, ``untrained`` likewise without;
    ``shared_noise`` draws the target from the reference's noise; ``img2img_S`` starts from the reference at strength S.

    * ``identity``: correlation of surfaces within teeth, free of illumination, with the reference's.
    * ``edit_correlation``: within teeth, of the change of luminance with the change of the lighting map.
    * ``light_correlation``: within teeth, of luminance with the target's lighting map.
    * ``light_difference``: mean difference of light within teeth from the reference, 0..1.
    * ``miou``: judges' mean IoU with the label map.

    Raises:
        BundleError: If bundle, LoRA or judges cannot be loaded.
        ConditionError: If there are fewer mouths than asked for, or records lack maps.
    """
    judges = load_judges(settings.judges)
    records = list(distinct_mouths(settings.source, settings.count))
    mouths = {seed: [_mouth(record, settings.spec, seed) for record in records] for seed in settings.seeds}
    pictures = relit_pictures(settings, mouths)
    runs = [
        {way: _scores(judges, mouths[seed], found["reference"], images) for way, images in found.items()}
        for seed, found in pictures.items()
    ]
    first = settings.seeds[0]
    return Relighting(_summary(runs), len(records), _sheet(mouths[first], pictures[first]))


def distinct_mouths(source: str, count: int) -> Iterator[ConditionRecord]:
    """The first record of each group, the second of the next group and so on, so that all views occur.

    Raises:
        ConditionError: If there are fewer groups.
    """
    taken: set[str] = set()
    seen: dict[str, int] = {}
    for shard in list_shards(source):
        for raw in read_records(shard):
            record = decode_record(raw, ("segmentation", "normal"))
            number = seen[record.group] = seen.get(record.group, -1) + 1
            if record.group not in taken and number == len(taken) % _VIEWS:
                taken.add(record.group)
                yield record
            if len(taken) == count:
                return
    raise ConditionError(storage.without_secrets(source), f"{len(taken)} mouths", f"{count}")


def relit_pictures(
    settings: RelightingSettings, mouths: Mapping[int, Sequence[Mouth]]
) -> dict[int, dict[str, Images]]:  # fmt: skip
    """By seed, the reference and every way's picture of every mouth; the models of each way are loaded once."""
    plain = Pipeline(_with(settings.spec))
    pictures: dict[int, dict[str, Images]] = {
        seed: {
            "reference": _drawn(plain, own, seed),
            "shared_noise": _drawn(plain, [_lit(mouth) for mouth in own], seed),
        }
        for seed, own in mouths.items()
    }
    for way, spec, edited in _edits(settings):
        pipeline = Pipeline(spec)
        for seed, own in mouths.items():
            shown = own if edited else [_lit(mouth) for mouth in own]
            pictures[seed][way] = _drawn(pipeline, shown, seed, pictures[seed]["reference"], edited=edited)
    return pictures


def _edits(settings: RelightingSettings) -> Iterator[tuple[str, BuildSpec, bool]]:
    """Ways that start from the reference: name, spec, and whether they are told its light beside the target's."""
    spec = settings.spec
    loras = {**spec.model.loras, settings.lora: settings.scale}
    yield "student", _with(spec, sampling={"start_from": "reference"}, loras=loras), True
    yield "untrained", _with(spec, sampling={"start_from": "reference"}), True
    for strength in settings.strengths:
        yield f"img2img_{strength:g}", _with(spec, sampling={"start_from": "photo", "strength": strength}), False


def _with(spec: BuildSpec, *, sampling: Mapping[str, Any] | None = None, loras: Any = None) -> BuildSpec:
    values = {name: getattr(spec, name).model_dump() for name in ("model", "conditions", "sampling", "engine")}
    values["sampling"] |= sampling or {}
    values["model"] |= {} if loras is None else {"loras": loras}
    return BuildSpec.model_validate(values)


def _mouth(record: ConditionRecord, spec: BuildSpec, seed: int) -> Mouth:
    lightings = draw_lightings(seed, record.key, 2)
    here, there = shadings(record.conditions["normal"], record.conditions.get("depth"), lightings)
    prompt = replace_light_words(record.prompt, record.attributes.get("lighting", ""))
    lit = [
        replace(
            record,
            split="", prompt=prompt, fdi=None, photo=None, license="", attributes={}, sample=None,
            conditions={"segmentation": record.conditions["segmentation"], "lighting": light},
        )
        for light in (here, there)
    ]  # fmt: skip
    fitted = [fit_record(one, spec.conditions.shape, spec.conditions.fit) for one in lit]
    return Mouth(fitted[0], fitted[1].conditions["lighting"].astype(np.uint8))


def _lit(mouth: Mouth) -> Mouth:
    """The mouth with the target's light as its own."""
    record = replace(mouth.record, conditions={**mouth.record.conditions, "lighting": mouth.target})
    return Mouth(record, mouth.target)


def _drawn(
    pipeline: Pipeline, mouths: Sequence[Mouth], seed: int, photos: Images | None = None, *, edited: bool = False
) -> Images:
    """A picture of every mouth, in order."""
    requests = [
        PipelineRequest(
            segmentation=mouth.record.conditions["segmentation"], lighting=mouth.record.conditions["lighting"],
            photo=None if photos is None else photos[i], target_lighting=mouth.target if edited else None,
            prompt=mouth.record.prompt, seed=seed, key=mouth.record.key,
        )
        for i, mouth in enumerate(mouths)
    ]  # fmt: skip
    found = {key.rsplit("-v", 1)[0]: np.asarray(image) for key, image in pipeline.stream(requests)}
    return [found[mouth.record.key] for mouth in mouths]


def _scores(judges: Judges, mouths: Sequence[Mouth], reference: Images, pictures: Images) -> dict[str, float]:
    """Means over mouths."""
    lit = [_lit(mouth).record for mouth in mouths]
    judged = labelled_figures(judges, pictures, lit)
    rows = [_edit(*one) for one in zip(mouths, reference, pictures, strict=True)]
    means = {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}
    means |= {name: float(np.nanmean(judged[name])) for name in ("light_correlation", "miou")}
    return {name: means[name] for name in FIGURES}


def _edit(mouth: Mouth, reference: NDArray[np.uint8], picture: NDArray[np.uint8]) -> dict[str, float]:
    inside = inner_teeth(tissue_classes(mouth.record.conditions["segmentation"].astype(np.uint8)))
    one, other = teeth_look(reference, inside), teeth_look(picture, inside)
    change = luminance(picture)[inside] - luminance(reference)[inside]
    wanted = mouth.target[inside].astype(np.float64) - mouth.record.conditions["lighting"][inside]
    return {
        "identity": identity(one, other),
        "light_difference": light_difference(one, other),
        "edit_correlation": light_levels_correlation(change, wanted),
    }


def _summary(runs: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, tuple[float, float]]]:
    """Mean and standard deviation over seeds."""
    return {
        way: {
            name: (float(np.mean([run[way][name] for run in runs])), float(np.std([run[way][name] for run in runs])))
            for name in FIGURES
        }
        for way in runs[0]
    }


def relighting_table(found: Relighting) -> list[str]:
    """A Markdown table, a line per way: means and standard deviations over seeds."""
    rows = [
        f"| {way} | " + " | ".join(f"{mean:.3f} ± {spread:.3f}" for mean, spread in by_name.values()) + " |"
        for way, by_name in found.scores.items()
    ]
    return ["| way | " + " | ".join(FIGURES) + " |", "|---" * (len(FIGURES) + 1) + "|", *rows]


def _sheet(mouths: Sequence[Mouth], pictures: Mapping[str, Images]) -> NDArray[np.uint8]:
    """A row per mouth: both lights, the reference, and every way's picture."""
    chosen = np.linspace(0, len(mouths) - 1, min(_SHEET_ROWS, len(mouths))).round().astype(int)
    rows = []
    for n in chosen:
        lights = [
            np.repeat(light[..., None], 3, -1) for light in (mouths[n].record.conditions["lighting"], mouths[n].target)
        ]
        rows.append(np.concatenate([*lights, *(found[n] for found in pictures.values())], 1).astype(np.uint8))
    return np.concatenate(rows)


def write_sheet(sheet: NDArray[np.uint8], url: str) -> None:
    """Write a sheet as PNG."""
    storage.overwrite(url, png_bytes(sheet, COMPOSITE_MEDIA))
