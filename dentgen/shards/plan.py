"""The plan of a build: its ordered units and everything resolved that decides their bytes."""

from __future__ import annotations

import hashlib
import json
import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Final

from dentgen import storage
from dentgen.documents.document import Document
from dentgen.documents.gate import PlannedGate
from dentgen.documents.index import SourceBuild
from dentgen.records import TRAINED_ALGORITHMIC_MEDIA
from dentgen.shards.unit_table import UnitTable
from dentgen.spec.build import BuildSpec

#: How a stored plan begins the place of something local, which is relative to the output.
_RELATIVE: Final = "./"


@dataclass(frozen=True, slots=True)
class BuildLocation:
    """Where a build's source, output and bundle are now; never part of a plan, so that all of them may move.

    Attributes:
        source: Folder, shards or Parquet: local path or fsspec URL.
        output: Folder or fsspec URL.
        bundle: The model bundle: a name, folder, URL or hub id; "" for the one that the plan names.
        judges: Judges of the gate: a name, folder or URL; "" for those that the plan names, if it names some.
    """

    source: str
    output: str
    bundle: str = ""
    judges: str = ""

    @classmethod
    def of(cls, spec: BuildSpec) -> BuildLocation:
        """The places that a spec names."""
        return cls(spec.source.path, spec.output.path, spec.model.bundle, spec.quality.judges)

    @classmethod
    def of_plan(cls, plan: Plan, output: str) -> BuildLocation:
        """The places from which a stored plan was made, as seen from where its build is now."""
        places = (plan.spec.source.path, plan.spec.model.bundle, plan.spec.quality.judges)
        source, *models = (storage.join(output, place) if place.startswith(_RELATIVE) else place for place in places)
        return cls(source, output, *models)


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a build: its segments, joined in order.

    Attributes:
        segment: Number of the newest segment; scheduled builds add segments.
        spec: The resolved build spec. Its paths are where source and output were when the newest segment was planned.
        spec_digest: Digest of the deciding part of the spec.
        bundle_digest: Digest of the weights.
        environment: Library versions, device kind, precision, slots, threads.
        units: The units of all segments that no later segment retired, in order.
        bundle_licenses: Licenses that the bundle and the chosen parts declare.
        made_from: The finished build whose samples are its condition records; None for other sources.
        firsts: Number of the first unit of every segment.
        retires: Numbers of the units of earlier segments that each segment retires.
        base_sha256: Digest of the plan that the newest segment continues, "" for the first one.
        gate: The quality gate, resolved; None without one.
    """

    segment: int
    spec: BuildSpec
    spec_digest: str
    bundle_digest: str
    environment: dict[str, str]
    units: UnitTable
    bundle_licenses: tuple[str, ...] = ()
    made_from: SourceBuild | None = None
    firsts: tuple[int, ...] = (0,)
    retires: tuple[tuple[int, ...], ...] = ((),)
    base_sha256: str = ""
    gate: PlannedGate | None = None

    def digest(self) -> str:
        """sha256 of what a plan decides: the same wherever source, output and bundle lie, and however many work.

        Of earlier segments it takes their digest, so that a build of many segments need not hash all units again.
        """
        decided = [self.segment, self.spec_digest, self.bundle_digest, self.environment, self.newest_units.digest()]
        made_of = [part for part in (self.made_from, self.gate) if part is not None]
        return segment_digest(decided, self.bundle_licenses, made_of, self.base_sha256, self.retires[-1])

    def at(self, location: BuildLocation) -> Plan:
        """The plan with the bundle and judges that are at hand, to load them."""
        spec = self.spec
        if location.bundle:
            spec = spec.model_copy(update={"model": spec.model.model_copy(update={"bundle": location.bundle})})
        if location.judges:
            spec = spec.model_copy(update={"quality": spec.quality.with_places(location.judges)})
        return replace(self, spec=spec)

    @property
    def bundle_name(self) -> str:
        """Name of the bundle as it may be published: without the folders of whoever built."""
        return storage.name_of(self.spec.model.bundle)

    @property
    def synthetic(self) -> bool:
        """Whether no photograph goes into the images: they start from noise, or from images without one."""
        return self.spec.sampling.synthetic or (self.made_from is not None and self.made_from.synthetic)

    @property
    def source_type(self) -> str:
        """IPTC term for the images: those that start from a photograph may keep parts of it."""
        return TRAINED_ALGORITHMIC_MEDIA if self.synthetic else self.spec.sampling.source_type

    @property
    def num_findings(self) -> int:
        """Findings that samples may have: the spec's, or those of the build that this one is made from."""
        return len(self.spec.findings) or (0 if self.made_from is None else self.made_from.findings)

    @property
    def planned(self) -> int:
        """Samples that the plan plans."""
        return self.units.samples(self.spec.sampling.variants)

    @property
    def newest_units(self) -> UnitTable:
        """Units of the newest segment."""
        return self.units.between(self.firsts[-1], 2**63 - 1) if self.segment else self.units

    @property
    def retired(self) -> frozenset[int]:
        """Numbers of all units that were retired."""
        return frozenset(chain.from_iterable(self.retires))

    @property
    def total_units(self) -> int:
        """Units that were ever planned, retired ones included: the number of the next unit."""
        return max(self.units.last + 1, max(self.retired, default=-1) + 1, self.firsts[-1])

    def units_of_version(self, version: int) -> list[int]:
        """Numbers of the units that a version has: all that were planned and not retired until then."""
        stop = self.firsts[version + 1] if version < self.segment else self.total_units
        gone = set(chain.from_iterable(self.retires[: version + 1]))
        return [number for number in range(stop) if number not in gone]

    def segment_of(self, unit: int) -> int:
        """Segment that planned a unit."""
        return max(bisect_right(self.firsts, unit) - 1, 0)


def segment_digest(
    decided: list[Any], licenses: Sequence[str], made_of: Sequence[Document], base: str, retires: Sequence[int]
) -> str:
    """sha256 of what a plan segment decides.

    Args:
        decided: Its number, digests of spec and bundle, environment, and digest of its units.
        licenses: Licenses of the bundle; plans of earlier versions have none.
        made_of: The finished build that is its source, if it is one, and its quality gate, if it has one.
        base: Digest of the plan that it continues; the first segment has none.
        retires: Units that it retires.
    """
    parts = [*decided, *([licenses] if licenses else [])]
    parts += [part.model_dump(mode="json") for part in made_of]
    parts += [base, retires] if base else []
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def published_plan(plan: Plan, output: str) -> Plan:
    """The plan as it is stored: its places hold no secrets.

    A local path is stored relative to a local output, so that both can move together; the way from one to the other may
    name folders, which ``without_places`` leaves out. Where the output is remote, only the last folder of an absolute
    path is kept. The bundle and the source can be named again when they are needed.
    """
    spec = plan.spec
    bundle = spec.model.bundle
    places = {
        "source": {"path": _published(spec.source.path, output)},
        "output": {
            "path": storage.without_secrets(output) if storage.is_remote(output) else storage.name_of(output) or "."
        },
        "model": {"bundle": _published(bundle, output) if Path(bundle).is_dir() else storage.without_secrets(bundle)},
    }
    sections = {name: getattr(spec, name).model_copy(update=changes) for name, changes in places.items()}
    if (gate := spec.quality.gate) is not None:
        known = (_published(place, output) if _is_local(place) else place for place in (gate.judges, gate.reference))
        sections["quality"] = spec.quality.with_places(*map(storage.without_secrets, known))
    return replace(plan, spec=spec.model_copy(update=sections))


def without_places(spec: BuildSpec) -> BuildSpec:
    """A spec that may be given away: of local places it keeps the last folder, of remote ones no secrets."""
    places = {"source": {"path": spec.source.path}, "output": {"path": spec.output.path}}
    places["model"] = {"bundle": spec.model.bundle}
    sections = {
        name: getattr(spec, name).model_copy(update={key: _name_alone(place) for key, place in values.items()})
        for name, values in places.items()
    }
    if (gate := spec.quality.gate) is not None:
        sections["quality"] = spec.quality.with_places(_name_alone(gate.judges), _name_alone(gate.reference))
    return spec.model_copy(update=sections)


def _is_local(place: str) -> bool:
    """Whether a place is a file or folder here; other words are names of something embedded, or URLs."""
    return not storage.is_remote(place) and Path(place).exists()


def _name_alone(place: str) -> str:
    """A remote place or a hub id as it is, and the last folder of a local path."""
    is_path = not storage.is_remote(place) and (place.startswith((_RELATIVE, ".", "~")) or Path(place).is_absolute())
    return storage.name_of(place) or "." if is_path else storage.without_secrets(place)


def _published(place: str, output: str) -> str:
    if storage.is_remote(place):
        return storage.without_secrets(place)
    if storage.is_remote(output):
        return storage.name_of(place) if Path(place).is_absolute() else place
    return _RELATIVE + os.path.relpath(Path(place).absolute(), Path(output).absolute())
