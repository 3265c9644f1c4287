"""Condition records of a posed scan, by the phantoms' own cameras, lamps, maps and materials."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import UPPER_QUADRANTS
from dentgen.ingest.scans.mouth import living, surroundings
from dentgen.ingest.scans.orientation import CROWNS_MM
from dentgen.ingest.scans.pose import Pose
from dentgen.ingest.scans.scan_mesh import ScanMesh
from dentgen.ingest.scans.winding import turned_outwards
from dentgen.phantom.anatomy import Dentition
from dentgen.phantom.camera import VIEWS, Camera, View, sample_camera
from dentgen.phantom.findings import NO_FINDINGS
from dentgen.phantom.lesions import Lesions
from dentgen.phantom.light import neutral, sample_lightings
from dentgen.phantom.maps import lighting_map
from dentgen.phantom.material import sample_material
from dentgen.phantom.mesh import ATTRIBUTES, Mesh, Tissue, join_meshes, vertex_normals
from dentgen.phantom.noise import LatticeNoise
from dentgen.phantom.photo_session import geometry_maps
from dentgen.phantom.photograph import photograph, scan_render
from dentgen.phantom.plaster_cast import cast_coat
from dentgen.phantom.prompt import Look, SceneFacts, scene_prompt
from dentgen.phantom.rays.mesh import RayMesh
from dentgen.phantom.scene import Scene
from dentgen.phantom.shading import paint
from dentgen.phantom.tissue import coat
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


@dataclass(frozen=True, slots=True)
class _Stage:
    """What the views of a jaw share: its mesh, and the ray structure unless every camera has lips of its own."""

    mesh: Mesh
    rays: RayMesh | None


def scan_views(mesh: ScanMesh) -> tuple[View, ...]:
    """Views that a scan can be seen from: of one jaw not the other's biting surface."""
    if mesh.labels is None:
        upper, lower = mesh.jaw == "upper", mesh.jaw == "lower"
    else:
        are_upper = np.isin(mesh.labels[mesh.labels > 0] // 10, UPPER_QUADRANTS)
        upper, lower = bool(are_upper.any()), not are_upper.all()
    without = {"lower-occlusal"} if not lower else {"upper-occlusal"} if not upper else set()
    return tuple(view for view in VIEWS if view not in without)


@dataclass(frozen=True, slots=True)
class Studio:
    """How scans are rendered; equal values give equal bytes.

    Attributes:
        seed: Seed of the set.
        size: Edge of maps and pictures, pixels.
        views: Views to render.
        lightings: Pictures per view.
        look: A cast on a grey ground, or a photograph of living tissue behind lips.
    """

    seed: int
    size: int
    views: tuple[View, ...]
    lightings: int
    look: Look = "scan"


def render_scan(mesh: ScanMesh, pose: Pose, group: str, studio: Studio) -> Iterator[ScanRecord]:
    """Render a scan; equal arguments give equal bytes.

    A scan without labels is a cast in the colour of teeth; it has neither ``seg`` nor ``fdi``, and nothing is said of
    its gum and dentition.

    Args:
        mesh: The scan; without labels one jaw, which it names.
        pose: Its pose.
        group: Name of the patient, which decides cameras and lamps together with the seed.
        studio: How it is rendered; photographs need labels.
    """
    posed = _posed(mesh, pose)
    stages: dict[str, _Stage] = {}
    front_mm = _front_mm(posed)
    for view in studio.views:
        if _shown(view) not in stages:
            stages[_shown(view)] = _stage(posed, view, studio.look)
        camera = sample_camera(view, front_mm, numpy_generator(studio.seed, group, view, "camera"))
        scene = _scene(stages[_shown(view)], camera, group, studio)
        records = _view(scene, group, studio)
        yield from records if mesh.labels is not None else map(_without_labels, records)


def _posed(mesh: ScanMesh, pose: Pose) -> Mesh:
    vertices = pose.apply(mesh.vertices)
    labels = np.zeros(len(mesh.faces), np.uint8) if mesh.labels is None else mesh.labels
    attributes = {name: np.zeros(len(vertices)) for name in ATTRIBUTES}
    attributes["margin_mm"][:] = _FAR_MM
    attributes["height"][:] = 0.5
    attributes["buccal"][:] = 1.0
    tissue = np.where((labels > 0) | (mesh.labels is None), Tissue.TOOTH, Tissue.GUM).astype(np.uint8)
    normals = vertex_normals(vertices, mesh.faces)
    posed = Mesh(vertices, normals, mesh.faces, tissue, labels, attributes)
    return turned_outwards(posed, upper=mesh.jaw == "upper")


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


def _stage(mesh: Mesh, view: View, look: Look) -> _Stage:
    """What a view sees: all, or for a biting surface that jaw alone, divided where the other jaw's teeth begin."""
    kept = _of_jaw(mesh, upper=view == "upper-occlusal") if "occlusal" in view else mesh
    if look == "photo":
        return _Stage(living(kept), None)
    return _Stage(kept, RayMesh(kept.vertices, kept.faces))


def _scene(stage: _Stage, camera: Camera, group: str, studio: Studio) -> Scene:
    if stage.rays is not None:
        return Scene(stage.mesh, stage.rays, camera, studio.size)
    mesh = join_meshes([stage.mesh, surroundings(stage.mesh, camera, group, studio.seed)])
    return Scene(mesh, RayMesh(mesh.vertices, mesh.faces), camera, studio.size)


def _of_jaw(mesh: Mesh, *, upper: bool) -> Mesh:
    """Triangles of one jaw: its teeth, and the gum that is nearer to its teeth than to the other's."""
    own = np.isin(mesh.fdi // 10, UPPER_QUADRANTS) == upper
    teeth = mesh.fdi > 0
    if own[teeth].all():
        return mesh
    height = mesh.vertices[mesh.faces].mean(1)[:, 1]
    middle = 0.5 * (np.median(height[teeth & own]) + np.median(height[teeth & ~own]))
    kept = np.where(teeth, own, (height > middle) == upper)
    return Mesh(mesh.vertices, mesh.normals, mesh.faces[kept], mesh.tissue[kept], mesh.fdi[kept], mesh.attributes)


def _view(scene: Scene, group: str, studio: Studio) -> Iterator[ScanRecord]:
    teeth, camera, look = scene.mesh.fdi[scene.mesh.fdi > 0], scene.camera, studio.look
    dentition: Dentition = "deciduous" if 2 * (teeth > _MILK).sum() > len(teeth) else "permanent"
    material = sample_material(numpy_generator(studio.seed, group, "material"), _NO_LESIONS, dentition)
    noise = LatticeNoise(numpy_generator(studio.seed, group, "texture"))
    coat_points, grain = (cast_coat, 1.0) if look == "scan" else (coat, material.grain)
    sight = see(
        scene,
        scene.trace_centres(),
        lambda surface: paint(surface, coat_points(surface, material, noise), grain, noise),
    )
    maps = geometry_maps(sight.centres, camera, scene.size)
    facts = SceneFacts(
        view=camera.view, look=look, dentition=dentition, mirrored=False, shade=material.shade_word,
        gum=material.gum_word, findings=NO_FINDINGS,
    )  # fmt: skip
    names = [f"{camera.view}-l{number}" if number else camera.view for number in range(studio.lightings)]
    lamps = sample_lightings(numpy_generator(studio.seed, group, name, "light") for name in names)
    for name, lighting in zip(names, lamps, strict=True):
        light = lighting_map(sight.centres.surface, lighting, camera, scene.size)
        attributes = {**facts.attributes, "lighting": lighting.kind}
        if look == "scan":
            picture = scan_render(sight, neutral(lighting))
        else:
            picture = photograph(sight, lighting, numpy_generator(studio.seed, group, name, "grain"))
        key = name if look == "scan" else f"{look}-{name}"
        yield ScanRecord(key, {**maps, "light": light}, picture, scene_prompt(facts, lighting.kind), attributes)
