"""A jaw scan as a document: one view of it, rendered as ``dentgen scans`` renders it."""

from __future__ import annotations

from typing import Final

from dentgen import storage
from dentgen.conditions.readers.raw import RawRecord
from dentgen.errors import SpecError
from dentgen.ingest.scans.patients import ScanFile, ScanFiles
from dentgen.ingest.scans.posed_scan import read_scan
from dentgen.ingest.scans.render import Studio, render_scan, scan_views
from dentgen.phantom.camera import View
from dentgen.records import ConditionRecord
from dentgen.shards.tar import json_bytes, png_bytes
from dentgen.spec.build import BuildSpec
from dentgen.studio.openers import opened

#: Seed of cameras and lamps: the default of ``dentgen scans``.
_SEED: Final = 0


def scanned(place: str, view: View, spec: BuildSpec) -> ConditionRecord:
    """A view of a jaw scan.

    Args:
        place: Path or URL of a mesh; labels of the teeth may be in it or in a JSON file beside it.
        view: View to render.
        spec: The studio's spec.

    Raises:
        ConditionError: If the mesh is damaged, or has no teeth that say how it lies.
        SpecError: If the scan cannot be seen from there, or a library that reads it is not installed.
        StorageError: If it cannot be read.
    """
    labels = f"{place.rpartition('.')[0]}.json"
    file = ScanFile(storage.name_of(place), place, labels if storage.exists(labels) else None)
    scan = read_scan(file)
    views = scan_views(scan.mesh)
    if view not in views:
        raise SpecError(file=storage.without_secrets(place), key="view", found=view, expected=f"one of {list(views)}")
    group = ScanFiles((file,)).group
    (rendered,) = render_scan(scan.mesh, scan.pose, group, Studio(_SEED, min(spec.conditions.shape), (view,), 1))
    members = {f"{name}.png": png_bytes(values) for name, values in rendered.maps.items()}
    members["json"] = json_bytes({**rendered.attributes, "group": group, "prompt": rendered.prompt})
    return opened(RawRecord(f"{scan.files.key}-{rendered.name}", storage.without_secrets(place), members), spec)
