"""Jaw scans into condition shards: one shard a scan, on all cores or a Ray cluster; what cannot be used is named."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Final

from tqdm import tqdm

from dentgen import storage
from dentgen.conditions.splits import drawn_split
from dentgen.errors import ConditionError, DentgenError, SpecError
from dentgen.ingest.scans.mesh_file import MESH_ENDINGS, read_mesh
from dentgen.ingest.scans.pose import find_pose
from dentgen.ingest.scans.render import ScanRecord, render_scan, scan_views
from dentgen.parallel.processes import map_processes
from dentgen.phantom.camera import VIEWS, View
from dentgen.phantom.rays.grid import GridRayMesh
from dentgen.phantom.rays.mesh import RayMesh
from dentgen.shards.parameters import claim_parameters
from dentgen.shards.tar import json_bytes, png_bytes, tar_bytes
from dentgen.storage.overlap import require_apart

PARAMETERS: Final = "scans.json"
_JAW_WORDS: Final = re.compile(r"[-_ .]?(upper|lower|maxilla|mandible)$", re.IGNORECASE)
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_-]+")


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
    """

    source: str
    out: str
    seed: int = 0
    size: int = 256
    views: tuple[View, ...] | None = None
    lightings: int = 1
    license: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    """One scan of a set: its name with folders and ending, and the places of mesh and labels."""

    name: str
    mesh: str
    labels: str | None


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What became of one scan: its number of records, or the reason why there are none."""

    name: str
    records: int
    problem: str = ""


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


def find_scans(source: str) -> list[Scan]:
    """All meshes of a folder, with the labels beside them.

    Raises:
        ConditionError: If there is no mesh.
        StorageError: If the folder cannot be listed.
    """
    urls = {storage.relative_name(source, file.url): file.url for file in storage.list_files(source)}
    scans = []
    for name in sorted(urls):
        stem, _, ending = name.rpartition(".")
        if f".{ending.lower()}" in MESH_ENDINGS:
            scans.append(Scan(name, urls[name], urls.get(f"{stem}.json")))
    if not scans:
        raise ConditionError(storage.without_secrets(source), "no mesh", f"files ending {', '.join(MESH_ENDINGS)}")
    return scans


def write_scans(scans: ScanSet, workers: int | None = None, address: str | None = None) -> list[ScanResult]:
    """Render every scan of a set; shards that exist are not rendered again.

    Args:
        scans: The set.
        workers: Number of processes; None uses all cores.
        address: Ray cluster that renders instead of this machine.

    Returns:
        What became of every scan, in order.

    Raises:
        ConditionError: If there is no mesh.
        SpecError: If ``out`` overlaps with the source or holds a set with other parameters.
    """
    require_apart("out", scans.out, "source", scans.source)
    if address is not None:
        from dentgen.parallel.ray_session import for_workers

        scans = replace(scans, source=for_workers(scans.source), out=for_workers(scans.out))
    found = find_scans(scans.source)
    storage.require_writable(scans.out)
    claim_parameters(scans.out, PARAMETERS, _parameters(scans))
    work = partial(_write_scan, scans, rays=_rays())
    with closing(_mapped(work, found, workers, address)) as done:
        results = list(tqdm(done, total=len(found), unit="scan", desc="scans"))
    return sorted(results, key=lambda result: result.name)  # a cluster gives them as they complete


def _mapped(
    work: Callable[[Scan], ScanResult], found: list[Scan], workers: int | None, address: str | None
) -> Generator[ScanResult, None, None]:
    if address is None:
        return map_processes(work, found, workers)
    from dentgen.parallel.ray_session import map_cluster

    return map_cluster(work, found, address)


def shard_of(scan: Scan) -> str:
    """Name of a scan's shard: its own name, and a digest, because other names may look the same."""
    digest = hashlib.sha256(scan.name.encode()).hexdigest()[:8]
    return f"scan-{_UNFIT.sub('_', scan.name)[:40]}-{digest}.tar"


def _parameters(scans: ScanSet) -> dict[str, Any]:
    values = {name: value for name, value in asdict(scans).items() if name not in {"source", "out"}}
    return {**values, "views": list(scans.views or []), "rays": _rays()}


def _rays() -> str:
    """What traces rays on this machine; the two differ in a few pixels on outlines."""
    return "grid" if RayMesh.accelerator is GridRayMesh else "embree"


def _write_scan(scans: ScanSet, scan: Scan, rays: str) -> ScanResult:
    """Render one scan.

    Raises:
        SpecError: If this node traces rays otherwise than the driver, and would render other bytes.
    """
    if _rays() != rays:
        raise SpecError(
            file=platform.node(), key="rays", found=_rays(), expected=rays, advice="install the same embreex"
        )
    place = storage.join(scans.out, shard_of(scan))
    try:
        mesh = read_mesh(scan.mesh, scan.labels)
        pose = find_pose(storage.without_secrets(scan.mesh), mesh)
        views = [view for view in scan_views(mesh) if scans.views is None or view in scans.views]
        if storage.exists(place):
            return ScanResult(scan.name, len(views) * scans.lightings)
        group = _group(scan.name)
        records = render_scan(
            mesh, pose, group, seed=scans.seed, size=scans.size, views=tuple(views), lightings=scans.lightings
        )
        samples = [(f"{_key(scan)}-{record.name}", _members(scans, group, record)) for record in records]
    except DentgenError as error:
        return ScanResult(scan.name, 0, str(error))
    storage.put_if_absent(place, tar_bytes(samples))
    return ScanResult(scan.name, len(samples))


def _key(scan: Scan) -> str:
    return shard_of(scan).removesuffix(".tar")


def _group(name: str) -> str:
    """Patient of a scan: the last part of its name without the word for the jaw.

    Both jaws stay in one split, also where each jaw has a folder of its own.
    """
    last = name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return _UNFIT.sub("_", _JAW_WORDS.sub("", last)) or "scan"


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
