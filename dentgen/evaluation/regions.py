"""Do images show the findings that a spec asks for, where it asks for them, and not otherwise?

Every sample with a finding is made twice with the same noise: as asked, and from the record's own maps and prompt. A
judge that knows no model looks at the finding's pixels in both, and at the same tissue elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen import storage
from dentgen.conditions.labels import colour_segmentation
from dentgen.conditions.readers.source import list_shards
from dentgen.conditions.unit_records import read_unit
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.errors import SpecError
from dentgen.generation.canvases import build_canvases
from dentgen.generation.decoding import decode_samples
from dentgen.generation.engines import start_engine
from dentgen.generation.finding_results import judged_findings
from dentgen.generation.generator import Generator, load_generator
from dentgen.generation.requests import check_requests, sample_requests
from dentgen.generation.threads import torch_threads
from dentgen.pipeline.plan import make_plan
from dentgen.progress import ConsoleProgress
from dentgen.records import ConditionRecord, GeneratedSample, SampleRequest
from dentgen.shards.tar import png_bytes
from dentgen.spec.build import BuildSpec

_LOG = logging.getLogger(__name__)

_OUTLINE: Final = (0, 255, 255)
#: Records whose samples are made together.
_BATCH: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """A sample as asked, and the same without its findings."""

    asked: GeneratedSample
    plain: GeneratedSample


@dataclass(frozen=True, slots=True)
class FindingResponse:
    """How images answer to one finding of the spec.

    Attributes:
        name: Number, from 1, and kind.
        samples: Samples that were asked for it.
        asked: Share of its pixels that show it, mean over samples.
        elsewhere: Likewise of the same tissue elsewhere in these samples.
        unasked: Likewise of its pixels in the samples without it.
        spread: Sample standard deviation of ``asked`` over samples; NaN for a single one.
        found: Share of the samples in which the judge finds it.
    """

    name: str
    samples: int
    asked: float
    elsewhere: float
    unasked: float
    spread: float
    found: float

    @property
    def figures(self) -> dict[str, float]:
        """All values by name, and their ratios."""
        values = {
            "samples": float(self.samples), "asked": self.asked, "elsewhere": self.elsewhere, "unasked": self.unasked,
            "spread": self.spread, "found": self.found, "asked_over_elsewhere": _ratio(self.asked, self.elsewhere),
            "asked_over_unasked": _ratio(self.asked, self.unasked),
        }  # fmt: skip
        return {f"{self.name}_{key}": value for key, value in values.items()}


def measure_regions(spec: BuildSpec, limit: int | None = None, sheet: str | None = None) -> list[FindingResponse]:
    """Measure every finding of a spec on its source.

    Args:
        spec: A spec with findings, whose picture size is resolved.
        limit: Only the first records; None for all.
        sheet: PNG file or URL for pictures without and with findings, and where they were asked for.

    Raises:
        SpecError: If the spec asks for no findings, or none is drawn.
        ConditionError: If a record cannot be used.
    """
    if not spec.findings:
        raise SpecError(key="findings", found="none", expected="findings to ask for")
    with torch_threads(spec.engine.threads):
        generator = load_generator(spec)
        pairs = list(_pairs(generator, start_engine(generator), islice(_records(spec), limit)))
    if not pairs:
        raise SpecError(key="findings", found="none in these records", expected="some to measure")
    if sheet is not None:
        storage.overwrite(sheet, png_bytes(_sheet(pairs)))
    found = (_response(pairs, label, finding.kind) for label, finding in enumerate(spec.findings, 1))
    return [response for response in found if response is not None]


def response_table(responses: Sequence[FindingResponse]) -> list[str]:
    """Format as aligned text, a line per finding."""
    head = f"{'finding':20s}{'samples':>8s}{'asked':>17s}{'elsewhere':>11s}{'unasked':>9s}{'ratios':>16s}{'found':>7s}"
    lines = [
        f"{r.name:20s}{r.samples:8d}{r.asked:8.3f} +- {r.spread:5.3f}{r.elsewhere:11.3f}{r.unasked:9.3f}"
        f"{_ratio(r.asked, r.elsewhere):8.1f}{_ratio(r.asked, r.unasked):8.1f}{r.found:7.2f}"
        for r in responses
    ]
    return [head, *lines]


def _records(spec: BuildSpec) -> Iterator[ConditionRecord]:
    """Records as a build of the spec takes them; those that it would reject are left out, with a warning."""
    shards = {shard.name: shard for shard in list_shards(spec.source.path, spec.source.format)}
    for unit in make_plan(spec).units:
        records, rejected = read_unit(spec, unit, shards[unit.shard])
        for one in rejected:
            _LOG.warning("left out: %s", one.reason)
        yield from records


def _pairs(generator: Generator, engine: DiffusionEngine, records: Iterator[ConditionRecord]) -> Iterator[_Pair]:
    """Pairs of all samples that have a finding, made a few records at a time."""
    done = 0
    with ConsoleProgress("measuring", "record") as progress:
        while batch := list(islice(records, _BATCH)):
            both = [pair for record in batch for pair in _requests(generator, record)]
            samples = _made(generator, engine, [request for pair in both for request in pair])
            yield from (_Pair(*pair) for pair in zip(samples[::2], samples[1::2], strict=True))
            done += len(batch)
            progress(done, None)


def _requests(generator: Generator, record: ConditionRecord) -> list[tuple[SampleRequest, SampleRequest]]:
    """Every variant that has a finding, with and without it."""
    asked, plain = sample_requests(generator, record), sample_requests(generator, record, findings=())
    check_requests(generator, asked)
    pairs = zip(asked, plain, strict=True)
    return [(one, replace(other, key=f"{other.key}-plain")) for one, other in pairs if one.findings]


def _made(generator: Generator, engine: DiffusionEngine, requests: list[SampleRequest]) -> list[GeneratedSample]:
    samples, rejected = decode_samples(generator, requests, engine.run(build_canvases(generator, requests)))
    if rejected:
        raise SpecError(key=rejected[0].request.key, found=rejected[0].reason, expected="samples that can be made")
    return samples


def _response(pairs: Sequence[_Pair], label: int, kind: str) -> FindingResponse | None:
    """Means over the samples that have a finding and something to compare it with."""
    rows = list[tuple[float, float, float, bool]]()
    for pair in pairs:
        asked = {one.label: one for one in judged_findings(pair.asked)}
        plain = {one.label: one for one in judged_findings(_labelled(pair))}
        if label in asked and asked[label].inside is not None and plain[label].inside is not None:
            one = asked[label]
            rows.append((one.inside or 0.0, one.outside or 0.0, plain[label].inside or 0.0, bool(one.found)))
    if not rows:
        return None
    values = np.array(rows, float)
    inside, outside, unasked, found = values.mean(0)
    spread = float(values[:, 0].std(ddof=1)) if len(rows) > 1 else float("nan")
    return FindingResponse(
        f"{label}-{kind}", len(rows), float(inside), float(outside), float(unasked), spread, float(found)
    )


def _labelled(pair: _Pair) -> GeneratedSample:
    """The plain picture with the asked sample's labels, so that the judge looks at the same pixels."""
    return replace(pair.asked, picture=pair.plain.picture)


def _ratio(over: float, under: float) -> float:
    return over / under if under else float("inf") if over else float("nan")


def _sheet(pairs: Sequence[_Pair], most: int = 8) -> NDArray[np.uint8]:
    """A line per sample: its maps as asked, without findings, with them, and with their outlines."""
    step = max(1, len(pairs) // most)
    lines = []
    for pair in pairs[::step][:most]:
        request = pair.asked.request
        maps = colour_segmentation(request.record.conditions["segmentation"].astype(np.uint8))
        tiles = [maps, pair.plain.picture, pair.asked.picture, _outlined(pair.asked)]
        lines.append(np.concatenate(tiles, 1))
    return np.concatenate(lines)


def _outlined(sample: GeneratedSample) -> NDArray[np.uint8]:
    labels = sample.request.finding_labels
    picture = sample.picture.copy()
    if labels is not None:
        edge = np.zeros(labels.shape, bool)
        edge[1:] |= labels[1:] != labels[:-1]
        edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
        picture[edge] = _OUTLINE
    return picture
