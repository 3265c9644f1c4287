"""Panels of self-distillation: a teacher draws every record under several lights, into condition shards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from dentgen import storage
from dentgen.conditions.decode import MAX_KEY_BYTES, decode_record, valid_key
from dentgen.conditions.readers.raw import ConditionShard, RawRecord
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.curation.pairs.layouts import Layout
from dentgen.curation.pairs.panel_shards import (
    PANELS_FOLDER,
    PARAMETERS,
    PanelParameters,
    Sample,
    panel_samples,
    parameters_bytes,
)
from dentgen.errors import ConditionError
from dentgen.pipeline.teacher import DRAWING, LitRecord, Teacher
from dentgen.progress import ConsoleProgress
from dentgen.records import ConditionRecord
from dentgen.relight.shards import output_name, relit_key
from dentgen.shards.parameters import claim_parameters
from dentgen.shards.tar import tar_bytes
from dentgen.spec.build import BuildSpec
from dentgen.storage.overlap import require_apart


@dataclass(frozen=True, slots=True)
class PanelSettings:
    """How panels are drawn.

    Attributes:
        layout: How they lie on canvases.
        lights: Panels per record.
        seed: Seed of lights and noise.
        count: Records, the first ones of the source; None: all.
    """

    layout: Layout = "shared"
    lights: int = 4
    seed: int = 0
    count: int | None = None


@dataclass(frozen=True, slots=True)
class DrawnPanels:
    """What was drawn.

    Attributes:
        records: Records with panels in the folder.
        drawn: Records whose panels this run drew.
        problems: A line per record that could not be drawn.
    """

    records: int
    drawn: int
    problems: tuple[str, ...]


def draw_panels(source: str, out: str, spec: BuildSpec, settings: PanelSettings) -> DrawnPanels:
    """Draw panels for the records of a source, one output shard per input shard; those that exist are left alone.

    Args:
        source: Condition records with segmentation and normals.
        out: Folder or URL outside the source.
        spec: Model, conditions, sampling and engine of the teacher.
        settings: Layout, lights, seed, count.

    Raises:
        BundleError, ConditionError, SpecError: If model, source or settings cannot be used, or ``out`` holds panels
            that were drawn otherwise.
    """
    out = storage.absolute(out)
    require_apart("OUT", out, "SOURCE", source)
    shards = list_shards(source)
    storage.require_writable(out)
    teacher = Teacher(spec, settings.layout, settings.lights, settings.seed)
    claim_parameters(out, PARAMETERS, parameters_bytes(_parameters(spec, settings, teacher.bundle.digest)))
    return _Drawing(teacher, out, settings).run(shards)


def _parameters(spec: BuildSpec, settings: PanelSettings, digest: str) -> PanelParameters:
    deciding = {name: values for name, values in spec.deciding().items() if name in DRAWING}
    return PanelParameters(
        layout=settings.layout, lights=settings.lights, seed=settings.seed, count=settings.count, spec=deciding,
        bundle_digest=digest,
    )  # fmt: skip


class _Drawing:
    """One run over the shards of a source."""

    def __init__(self, teacher: Teacher, out: str, settings: PanelSettings) -> None:
        self._teacher, self._out, self._left = teacher, out, settings.count
        self._planned = settings.count
        self._records, self._drawn = 0, 0
        self._problems: list[str] = []

    def run(self, shards: list[ConditionShard]) -> DrawnPanels:
        with ConsoleProgress("drawing", "record") as self._progress:
            self._progress(0, self._planned)
            for shard in shards:
                if self._left == 0:
                    break
                self._draw_shard(shard)
                self._progress(self._records, self._planned)
        return DrawnPanels(self._records, self._drawn, tuple(self._problems))

    def _draw_shard(self, shard: ConditionShard) -> None:
        raws = list(islice(read_records(shard), self._left))
        self._left = None if self._left is None else self._left - len(raws)
        url = storage.join(self._out, PANELS_FOLDER, output_name(shard))
        lit = self._lit(raws)
        if storage.exists(url):
            self._records += sum(1 for _ in lit)
            return
        samples: list[Sample] = []
        while chunk := list(islice(lit, self._teacher.records_at_once)):  # relit maps of few records in memory
            panels = self._teacher.draw([one for _, one in chunk])
            for (record, one), drawn in zip(chunk, panels, strict=True):
                samples += panel_samples(record, shard.name, drawn, one.lightings)
            self._drawn += len(chunk)
            self._records += len(chunk)
            self._progress(self._records, self._planned)
        if samples:
            storage.put_if_absent(url, tar_bytes(samples))

    def _lit(self, raws: list[RawRecord]) -> Iterator[tuple[ConditionRecord, LitRecord]]:
        for raw in raws:
            try:
                record = _decoded(raw)
                yield record, self._teacher.lit(record)
            except ConditionError as error:
                self._problems.append(str(error))


def _decoded(raw: RawRecord) -> ConditionRecord:
    record = decode_record(raw, ("segmentation", "normal"))
    if not valid_key(relit_key(record.key, 0)):
        expected = f"at most {MAX_KEY_BYTES - 4} bytes"
        raise ConditionError(raw.place, "a key that is too long for a lighting suffix", expected)
    return record
