"""Condition records of a posed scan, by the phantoms' own cameras, lamps, maps and cast material."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.ingest.scans.orientation import CROWNS_MM
from dentgen.ingest.scans.pose import Pose
from dentgen.ingest.scans.scan_mesh import ScanMesh
from dentgen.phantom.anatomy import Dentition
from dentgen.phantom.camera import VIEWS, Camera, View, sample_camera
from dentgen.phantom.findings import NO_FINDINGS
from dentgen.phantom.lesions import Lesions
from dentgen.phantom.light import neutral, sample_lightings
from dentgen.phantom.maps import lighting_map
from dentgen.phantom.material import sample_material
from dentgen.phantom.mesh import ATTRIBUTES, Mesh, Tissue, vertex_normals
from dentgen.phantom.noise import LatticeNoise
from dentgen.phantom.photo_session import geometry_maps
from dentgen.phantom.photograph import scan_render
from dentgen.phantom.plaster_cast import cast_coat
from dentgen.phantom.prompt import SceneFacts, scene_prompt
from dentgen.phantom.rays.mesh import RayMesh
from dentgen.phantom.scene import Scene
from dentgen.phantom.shading import paint
from dentgen.phantom.visible_surface import see
from dentgen.records import MapArray
from dentgen.seeding import numpy_generator

#: Distance from the margin that all gum has: beyond the reddened rim, which a scan does not tell.
_FAR_MM: Final = 9.0
#: FDI position of the milk teeth's quadrants.
_MILK: Final = 50
_NO_LESIONS: Final = Lesions((), {}, (), 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class ScanRecord:
    """One view of one scan under one light: name of the view with the light, maps, picture, prompt and attributes."""

    name: str
    maps: dict[str, MapArray]
    picture: NDArray[np.uint8]
    prompt: str
    attributes: dict[str, str | int]


def scan_views(mesh: ScanMesh) -> tuple[View, ...]:
    """Views that a scan can be seen from: of one jaw not the other's biting surface."""
    if mesh.labels is None:
        upper, lower = mesh.jaw == "upper", mesh.jaw == "lower"
    else:
        quadrants = np.unique(mesh.labels[mesh.labels > 0]) // 10
        upper, lower = bool(np.isin(quadrants, (1, 2, 5, 6)).any()), bool(np.isin(quadrants, (3, 4, 7, 8)).any())
    without = {"lower-occlusal"} if not lower else {"upper-occlusal"} if not upper else set()
    return tuple(view for view in VIEWS if view not in without)


def render_scan(
    mesh: ScanMesh, pose: Pose, group: str, *, seed: int, size: int, views: tuple[View, ...], lightings: int
) -> Iterator[ScanRecord]:
    """Render a scan; equal arguments give equal bytes.

    A scan without labels is a cast in the colour of teeth; it has neither ``seg`` nor ``fdi``, and nothing is said of
    its gum and dentition.

    Args:
        mesh: The scan; without labels one jaw, which it names.
        pose: Its pose.
        group: Name of the patient, which decides cameras and lamps together with ``seed``.
        seed: Seed of the set.
        size: Edge of maps and pictures, pixels.
        views: Views to render.
        lightings: Pictures per view.
    """
    posed = _posed(mesh, pose)
    rays: dict[str, tuple[Mesh, RayMesh]] = {}
    front_mm = _front_mm(posed)
    for view in views:
        if _shown(view) not in rays:
            rays[_shown(view)] = _traced(posed, view)
        seen, traced = rays[_shown(view)]
        camera = sample_camera(view, front_mm, numpy_generator(seed, group, view, "camera"))
        is_labelled = mesh.labels is not None
        records = _view(Scene(seen, traced, camera, size), camera, seen, group, seed, lightings)
        yield from records if is_labelled else map(_without_labels, records)


def _posed(mesh: ScanMesh, pose: Pose) -> Mesh:
    vertices = pose.apply(mesh.vertices)
    labels = np.zeros(len(mesh.faces), np.uint8) if mesh.labels is None else mesh.labels
    attributes = {name: np.zeros(len(vertices)) for name in ATTRIBUTES}
    attributes["margin_mm"][:] = _FAR_MM
    attributes["height"][:] = 0.5
    attributes["buccal"][:] = 1.0
    tissue = np.where((labels > 0) | (mesh.labels is None), Tissue.TOOTH, Tissue.GUM).astype(np.uint8)
    return Mesh(vertices, vertex_normals(vertices, mesh.faces), mesh.faces, tissue, labels, attributes)


def _front_mm(posed: Mesh) -> float:
    """The largest z of a tooth; without labels, of all near the biting surfaces."""
    if posed.fdi.any():
        return float(posed.vertices[posed.faces[posed.fdi > 0]][..., 2].max())
    used = posed.vertices[np.unique(posed.faces)]
    return float(used[np.abs(used[:, 1]) < CROWNS_MM, 2].max())


def _without_labels(record: ScanRecord) -> ScanRecord:
    maps = {name: values for name, values in record.maps.items() if name not in {"seg", "fdi"}}
    attributes = {name: value for name, value in record.attributes.items() if name not in {"gum", "dentition"}}
    phrases = [phrase for phrase in record.prompt.split(", ") if not phrase.endswith(" gums")]
    return replace(record, maps=maps, attributes=attributes, prompt=", ".join(phrases))


def _shown(view: View) -> str:
    return view if "occlusal" in view else "both"


def _traced(mesh: Mesh, view: View) -> tuple[Mesh, RayMesh]:
    """What a view sees: all, or for a biting surface that jaw alone, divided where the other jaw's teeth begin."""
    kept = _of_jaw(mesh, upper=view == "upper-occlusal") if "occlusal" in view else mesh
    return kept, RayMesh(kept.vertices, kept.faces)


def _of_jaw(mesh: Mesh, *, upper: bool) -> Mesh:
    """Triangles of one jaw: its teeth, and the gum that is nearer to its teeth than to the other's."""
    own = np.isin(mesh.fdi // 10, (1, 2, 5, 6)) == upper
    teeth = mesh.fdi > 0
    if own[teeth].all():
        return mesh
    height = mesh.vertices[mesh.faces].mean(1)[:, 1]
    middle = 0.5 * (np.median(height[teeth & own]) + np.median(height[teeth & ~own]))
    kept = np.where(teeth, own, (height > middle) == upper)
    return Mesh(mesh.vertices, mesh.normals, mesh.faces[kept], mesh.tissue[kept], mesh.fdi[kept], mesh.attributes)


def _view(scene: Scene, camera: Camera, mesh: Mesh, group: str, seed: int, lightings: int) -> Iterator[ScanRecord]:
    teeth = mesh.fdi[mesh.fdi > 0]
    dentition: Dentition = "deciduous" if 2 * (teeth > _MILK).sum() > len(teeth) else "permanent"
    material = sample_material(numpy_generator(seed, group, "material"), _NO_LESIONS, dentition)
    noise = LatticeNoise(numpy_generator(seed, group, "texture"))
    sight = see(
        scene, scene.trace_centres(), lambda surface: paint(surface, cast_coat(surface, material, noise), 1.0, noise)
    )
    maps = geometry_maps(sight.centres, camera, scene.size)
    facts = SceneFacts(
        view=camera.view, look="scan", dentition=dentition, mirrored=False, shade=material.shade_word,
        gum=material.gum_word, findings=NO_FINDINGS,
    )  # fmt: skip
    names = [f"{camera.view}-l{number}" if number else camera.view for number in range(lightings)]
    lamps = sample_lightings(numpy_generator(seed, group, name, "light") for name in names)
    for name, lighting in zip(names, lamps, strict=True):
        light = lighting_map(sight.centres.surface, lighting, camera, scene.size)
        attributes = {**facts.attributes, "lighting": lighting.kind}
        picture = scan_render(sight, neutral(lighting))
        yield ScanRecord(name, {**maps, "light": light}, picture, scene_prompt(facts, lighting.kind), attributes)
