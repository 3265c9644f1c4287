"""Jaw scans into condition shards: one shard a scan, on all cores or a Ray cluster; what cannot be used is named."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Final

from dentgen import storage
from dentgen.conditions.splits import drawn_split
from dentgen.errors import ConditionError, DentgenError, SpecError
from dentgen.ingest.scans.bite import join_in_bite
from dentgen.ingest.scans.orientation import Orientation
from dentgen.ingest.scans.patients import ScanFiles, find_patients
from dentgen.ingest.scans.posed_scan import PosedScan, read_scan
from dentgen.ingest.scans.render import ScanRecord, Studio, render_scan, scan_views
from dentgen.parallel.processes import map_processes
from dentgen.phantom.camera import VIEWS, View
from dentgen.phantom.prompt import Look
from dentgen.phantom.rays.grid import GridRayMesh
from dentgen.phantom.rays.mesh import RayMesh
from dentgen.progress import tracked
from dentgen.shards.parameters import claim_parameters
from dentgen.shards.tar import json_bytes, png_bytes, tar_bytes
from dentgen.storage.overlap import require_apart

PARAMETERS: Final = "scans.json"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ScanSet:
    """Scans and what becomes of them.

    Attributes:
        source: Folder or URL with meshes, and Teeth3DS's JSON files beside them.
        out: Folder or URL of the condition shards.
        seed: Seed of cameras and lamps.
        size: Edge of the maps, pixels.
        views: Views to render; None for all that a scan can be seen from.
        lightings: Pictures per view.
        license: Licence of the scans, which travels with every sample.
        orientation: How scans without labels lie; None refuses them.
        colours: FDI numbers, 0 for gum, by colour of triangles or vertices; None leaves colours alone.
        look: Casts on a grey ground, or photographs of living tissue behind lips.
    """

    source: str
    out: str
    seed: int = 0
    size: int = 256
    views: tuple[View, ...] | None = None
    lightings: int = 1
    license: str = ""
    orientation: Orientation | None = None
    colours: Mapping[str, int] | None = None
    look: Look = "scan"


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What became of one scan.

    Attributes:
        name: The file, or what the names of both jaws' files have in common.
        records: Number of records.
        problem: Why there are none, "" if there are.
        note: What else is to be known, "" if nothing.
    """

    name: str
    records: int
    problem: str = ""
    note: str = ""


def parse_views(text: str | None) -> tuple[View, ...] | None:
    """Views of a text such as "frontal,left"; None for None.

    Raises:
        SpecError: If one is unknown.
    """
    if text is None:
        return None
    named = [name.strip() for name in text.split(",")]
    if unknown := [name for name in named if name not in VIEWS]:
        raise SpecError(key="--views", found=unknown, expected=", ".join(VIEWS))
    return tuple(view for view in VIEWS if view in named)


def write_scans(scans: ScanSet, workers: int | None = None, address: str | None = None) -> list[ScanResult]:
    """Render every scan of a set; shards that exist are not rendered again.

    Args:
        scans: The set.
        workers: Number of processes; None uses all cores.
        address: Ray cluster that renders instead of this machine.

    Returns:
        What became of every scan, in order of their names.

    Raises:
        ConditionError: If there is no mesh.
        SpecError: If ``out`` overlaps with the source or holds a set with other parameters.
    """
    require_apart("out", scans.out, "source", scans.source)
    if address is not None:
        from dentgen.parallel.ray_session import for_workers

        scans = replace(scans, source=for_workers(scans.source), out=for_workers(scans.out))
    patients = find_patients(scans.source)
    storage.require_writable(scans.out)
    claim_parameters(scans.out, PARAMETERS, _parameters(scans))
    work = partial(_write_patient, scans, rays=_rays())
    with closing(_mapped(work, patients, workers, address)) as done:
        results = [result for some in tracked(done, "scans", "patient", len(patients)) for result in some]
    for result in results:
        if result.note:
            _LOG.info("%s: %s", result.name, result.note)
    return sorted(results, key=lambda result: result.name)  # a cluster gives them as they complete


def _mapped(
    work: Callable[[ScanFiles], list[ScanResult]], patients: list[ScanFiles], workers: int | None, address: str | None
) -> Generator[list[ScanResult], None, None]:
    if address is None:
        return map_processes(work, patients, workers)
    from dentgen.parallel.ray_session import map_cluster

    return map_cluster(work, patients, address)


def _parameters(scans: ScanSet) -> dict[str, Any]:
    values = {name: value for name, value in asdict(scans).items() if name not in {"source", "out"}}
    for name, usual in (("orientation", None), ("colours", None), ("look", "scan")):
        if values[name] == usual:
            del values[name]  # sets that began without it are continued
    return {**values, "views": list(scans.views or []), "rays": _rays()}


def _rays() -> str:
    """What traces rays on this machine; the two differ in a few pixels on outlines."""
    return "grid" if RayMesh.accelerator is GridRayMesh else "embree"


def _write_patient(scans: ScanSet, patient: ScanFiles, rays: str) -> list[ScanResult]:
    """Render what a patient has: both jaws as one scan if they stand in bite, else each alone.

    A damaged jaw leaves the other alone. If one could not be read now, neither is written: the next run may read it.

    Raises:
        SpecError: If this node traces rays otherwise than the driver, and would render other bytes.
    """
    if _rays() != rays:
        raise SpecError(
            file=platform.node(), key="rays", found=_rays(), expected=rays, advice="install the same embreex"
        )
    is_pair = len(patient.files) == 2
    if is_pair and storage.exists(storage.join(scans.out, patient.shard)):
        return [ScanResult(patient.name, len(scans.views or VIEWS) * scans.lightings)]  # both jaws have every view
    posed, problems, unread = [], {}, ""
    for file in patient.files:
        try:
            posed.append(read_scan(file, scans.orientation, scans.colours))
        except DentgenError as error:
            problems[file.name] = str(error)
            unread = unread if isinstance(error, ConditionError) else file.name
    if is_pair and unread:
        waits = f"not rendered, because {unread} could not be read"
        return [ScanResult(file.name, 0, problems.get(file.name, waits)) for file in patient.files]
    results = [ScanResult(name, 0, problem) for name, problem in problems.items()]
    posed, note = _joined(scans, posed)
    return results + [_write_scan(scans, scan, note) for scan in posed]


def _joined(scans: ScanSet, posed: list[PosedScan]) -> tuple[list[PosedScan], str]:
    """Two jaws in bite as one scan, else each alone, and why."""
    if len(posed) < 2:
        return posed, ""
    if any(storage.exists(storage.join(scans.out, scan.files.shard)) for scan in posed):
        return posed, "rendered alone: the output has a jaw of this patient alone"
    try:
        return [join_in_bite(*posed)], ""
    except ConditionError as error:
        return posed, f"rendered alone: {error}"


def _write_scan(scans: ScanSet, scan: PosedScan, note: str) -> ScanResult:
    place = storage.join(scans.out, scan.files.shard)
    views = tuple(view for view in scan_views(scan.mesh) if scans.views is None or view in scans.views)
    if storage.exists(place):
        return ScanResult(scan.files.name, len(views) * scans.lightings, note=note)
    group = scan.files.group
    try:
        if scans.look == "photo" and scan.mesh.labels is None:
            place = storage.without_secrets(scan.files.files[0].mesh)
            raise ConditionError(place, "no labels", "labels, which tell living teeth from gum in photographs")
        studio = Studio(scans.seed, scans.size, views, scans.lightings, scans.look)
        records = render_scan(scan.mesh, scan.pose, group, studio)
        samples = [(f"{scan.files.key}-{record.name}", _members(scans, group, record)) for record in records]
    except DentgenError as error:
        return ScanResult(scan.files.name, 0, str(error))
    storage.put_if_absent(place, tar_bytes(samples))
    return ScanResult(scan.files.name, len(samples), note=note)


def _members(scans: ScanSet, group: str, record: ScanRecord) -> dict[str, bytes]:
    metadata = {
        **record.attributes, "group": group, "split": drawn_split(group), "prompt": record.prompt,
        "license": scans.license, "source": "jaw scan", "synthetic": False,
    }  # fmt: skip
    maps = {f"{name}.png": png_bytes(values) for name, values in record.maps.items()}
    return {**maps, "photo.png": png_bytes(record.picture), "json": json_bytes(metadata)}


def total(results: Sequence[ScanResult]) -> tuple[int, int]:
    """Numbers of records and of scans that could not be used."""
    return sum(result.records for result in results), sum(bool(result.problem) for result in results)
