"""The plan of a build: its ordered units and everything resolved that decides their bytes."""

from __future__ import annotations

from dataclasses import dataclass

from dentgen.shards.unit_table import UnitTable
from dentgen.spec.build import BuildSpec


@dataclass(frozen=True, slots=True)
class BuildLocation:
    """Where a build's source and output are now; never part of a plan, so that both may move.

    Attributes:
        source: Folder, shards or Parquet: local path or fsspec URL.
        output: Folder or fsspec URL.
    """

    source: str
    output: str

    @classmethod
    def of(cls, spec: BuildSpec) -> BuildLocation:
        """The places that a spec names."""
        return cls(spec.source.path, spec.output.path)


@dataclass(frozen=True, slots=True)
class Plan:
    """One plan segment.

    Attributes:
        segment: Its number; scheduled builds add segments.
        spec: The resolved build spec. Its paths are where source and output were when the build was planned.
        spec_digest: Digest of the deciding part of the spec.
        bundle_digest: Digest of the weights.
        environment: Library versions, device kind, precision, slots, threads.
        units: The units, in order.
    """

    segment: int
    spec: BuildSpec
    spec_digest: str
    bundle_digest: str
    environment: dict[str, str]
    units: UnitTable

    @property
    def planned(self) -> int:
        """Samples that the segment plans."""
        return self.units.samples(self.spec.sampling.variants)
