"""Small builds of a document: variants of it, or frames under a lamp that swings, as a finished dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from dentgen.errors import BuildError, SpecError
from dentgen.models.bundle import Bundle
from dentgen.pipeline.run import build
from dentgen.relight.shards import Relighting, write_relit
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import read_spec
from dentgen.studio.saving import located, new_folder, write_record, write_spec
from dentgen.studio.work import Snapshot

#: What a small build consists of: pictures with other noise, or frames of a swinging lamp with one noise.
Series = Literal["variants", "light"]
#: Pictures of a small build; larger ones are made from its spec, by a command.
MOST: Final = 64


@dataclass(frozen=True, slots=True)
class SmallBuild:
    """A finished small build.

    Attributes:
        folder: Folder of conditions, spec and dataset.
        dataset: The dataset.
        report: Its report.
        written: Pictures in it.
        rejected: Pictures that are not in it, by class of the reason.
    """

    folder: Path
    dataset: str
    report: str
    written: int
    rejected: dict[str, int]


def make_small_build(
    folder: Path,
    name: str,
    snapshot: Snapshot,
    base: BuildSpec,
    bundle: Bundle,
    series: Series,
    count: int,
    progress: Callable[[int, int], None],
) -> SmallBuild:
    """Save a document and build it, in this thread and with the networks that are loaded.

    Args:
        folder: The studio's folder.
        name: Name of the new folder in it, "" for the record's key.
        snapshot: The document.
        base: Spec of everything that the document does not set.
        bundle: The loaded networks.
        series: What the pictures are.
        count: How many.
        progress: Called with pictures done and planned; what it raises ends the build, which the saved spec resumes.

    Raises:
        SpecError: If the document cannot become such a series, or its settings do not go together.
        BuildError: If the build failed.
        StorageError: If the folder cannot be written.
    """
    spec = _spec(snapshot, base, series, count)
    place = new_folder(folder, name, snapshot.record)
    if series == "light":
        write_record(place / "record", snapshot.record)
        _write_frames(place, count, spec.sampling.seed)
    else:
        write_record(place / "conditions", snapshot.record)
    spec = read_spec(write_spec(place, located(spec, place)))
    outcome = build(spec, use_ray=False, progress=progress, loaded=bundle)
    return SmallBuild(place, spec.output.path, outcome.report, outcome.index.written, dict(outcome.rejected))


def _spec(snapshot: Snapshot, base: BuildSpec, series: Series, count: int) -> BuildSpec:
    """The spec, without its places."""
    spec = snapshot.settings.build_spec(base, len(snapshot.record.painted))
    if series == "variants":
        return spec.model_copy(update={"sampling": spec.sampling.model_copy(update={"variants": count})})
    if spec.sampling.needs_photo:
        raise SpecError(key="series", found="pictures that begin with a photo", expected="noise alone, to be relit")
    for name in ("normal", "lighting"):
        if name not in snapshot.record.conditions:
            raise SpecError(key="series", found=f"a record without a {name} map", expected="one, to be relit")
    return spec.model_copy(update={"sampling": spec.sampling.model_copy(update={"variants": 1, "noise": "series"})})


def _write_frames(place: Path, count: int, seed: int) -> None:
    relit = write_relit(
        str(place / "record"), str(place / "conditions"), Relighting(count, seed, swing=True), workers=1
    )
    if problems := [problem for shard in relit for problem in shard.problems]:
        raise BuildError(problems[0])
