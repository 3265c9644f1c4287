"""A photo session: all views and lightings of one patient.

Meshes are shared by the views of an arch, traced geometry and paint by the lightings of a view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dentgen.phantom.anatomy import FloatArray
from dentgen.phantom.camera import OCCLUSAL_VIEWS, Camera, View, sample_camera
from dentgen.phantom.findings import tell_findings
from dentgen.phantom.lesions import sample_lesions
from dentgen.phantom.light import Lighting, neutral
from dentgen.phantom.maps import (
    curvature_map,
    depth_map,
    fdi_map,
    lighting_map,
    mirror_image,
    normal_map,
    segmentation_map,
)
from dentgen.phantom.material import sample_material
from dentgen.phantom.mesh import Mesh, join_meshes, join_parts
from dentgen.phantom.mouth import build_lips
from dentgen.phantom.noise import LatticeNoise
from dentgen.phantom.patient import Patient
from dentgen.phantom.photograph import photograph, scan_render
from dentgen.phantom.plaster_cast import cast_coat
from dentgen.phantom.prompt import ARCH_OF_VIEW, Look, SceneFacts
from dentgen.phantom.rays.mesh import RayMesh
from dentgen.phantom.scene import Scene, Surface
from dentgen.phantom.series import orbit
from dentgen.phantom.shading import Painted, paint
from dentgen.phantom.surroundings.exposure import Exposure
from dentgen.phantom.surroundings.frame import Frame
from dentgen.phantom.tissue import coat
from dentgen.phantom.visible_surface import Sight, see
from dentgen.records import MapArray
from dentgen.seeding import numpy_generator


@dataclass(frozen=True, slots=True)
class Shot:
    """One view of a mouth, independent of the lighting.

    Attributes:
        seed: Seed of the set.
        name: Patient and view, naming the random streams; the same for both looks.
        key: Key of the record with the first lighting.
        facts: What prompt and metadata say of it.
        sight: Painted surface that the camera sees.
        maps: All maps except ``light``, as in ``Phantom.maps``.
        texture: Random stream after drawing the patient's texture; the grain of the first picture continues it.
        exposure: Faults of the camera; None for none.
        frame: Border and text; None for none.
        strands: (H, W) light of strings of saliva, not yet flipped in a mirror; None for none.
    """

    seed: int
    name: str
    key: str
    facts: SceneFacts
    sight: Sight
    maps: dict[str, MapArray]
    texture: np.random.Generator
    exposure: Exposure | None = None
    frame: Frame | None = None
    strands: FloatArray | None = None

    def lighting_map(self, lighting: Lighting) -> NDArray[np.uint8]:
        """(H, W) lighting map: clay under the given lamps."""
        clay = lighting_map(self.sight.centres.surface, lighting, self.sight.camera, self.sight.size)
        return clay[:, ::-1].copy() if self.facts.mirrored else clay

    def picture(self, lighting: Lighting, suffix: str) -> NDArray[np.uint8]:
        """(H, W, 3) sRGB reference picture; ``suffix`` names the lighting's grain stream, "" for the first."""
        if self.facts.look == "scan":
            return scan_render(self.sight, neutral(lighting))
        grain = numpy_generator(self.seed, self.name + suffix, "grain") if suffix else deepcopy(self.texture)
        picture = photograph(self.sight, lighting, grain, self.exposure, self.strands)
        picture = picture[:, ::-1].copy() if self.facts.mirrored else picture
        return picture if self.frame is None else self.frame.added_to(picture)


class PhotoSession:
    """A patient's mouth, ready to be photographed at one size."""

    def __init__(self, seed: int, patient: Patient, size: int, look: Look = "photo", *, mirrors: bool = False) -> None:
        """Draw the patient's lesions and colours.

        Args:
            seed: Seed of the set.
            patient: The mouth.
            size: Edge of the square pictures and maps, pixels.
            look: Photographs or scan models.
            mirrors: Take occlusal photographs in a mirror; ignored for scan models.
        """
        self._seed = seed
        self._patient = patient
        self._size = size
        self._look: Look = look
        self._mirrors = mirrors and look == "photo"
        dentition = patient.shape.dentition
        lesions = sample_lesions(dentition, numpy_generator(seed, patient.group, "lesions"))
        self._material = sample_material(numpy_generator(seed, patient.group, "material"), lesions, dentition)
        self._meshes: dict[str, Mesh] = {}
        self._casts: dict[str, RayMesh] = {}

    def shoot(self, view: View) -> Shot:
        """Trace and paint one view of the mouth, or of its cast from the same camera."""
        camera = self._camera(view)
        return self._shot(self._mouth(camera), camera)

    def shoot_orbit(self, view: View, frames: int, places: range) -> Iterator[tuple[Shot, Scene]]:
        """Trace and paint one view again and again while the camera circles before it; lips do not move along.

        Args:
            view: Standard view of frame 0.
            frames: Frames of the whole way.
            places: Numbers of the frames to shoot.

        Yields:
            Each frame, and the scene of frame 0, the same for all.
        """
        camera = self._camera(view)
        mouth = self._mouth(camera)
        first = Scene(*mouth, camera, self._size)
        for frame in places:
            yield self._shot(mouth, orbit(camera, frame, frames)), first

    def _camera(self, view: View) -> Camera:
        cameras = numpy_generator(self._seed, self._name(view), "camera")
        return sample_camera(view, self._patient.front_mm, cameras, self._patient.scale)

    def _name(self, view: View) -> str:
        return f"{self._patient.group}-{view}"

    def _shot(self, mouth: tuple[Mesh, RayMesh], camera: Camera) -> Shot:
        seed, group, name = self._seed, self._patient.group, self._name(camera.view)
        scene = Scene(*mouth, camera, self._size)
        centres = scene.trace_centres()
        texture = numpy_generator(seed, group, "texture")
        sight = see(scene, centres, self._brush(LatticeNoise(texture)))
        facts = self._facts(camera.view, sight)
        kind = "mirror" if facts.mirrored else self._look
        key = name if kind == "photo" else f"{group}-{kind}-{camera.view}"
        maps = geometry_maps(sight.centres, camera, self._size)
        return Shot(seed, name, key, facts, sight, mirror_image(maps) if facts.mirrored else maps, texture)

    def _facts(self, view: View, sight: Sight) -> SceneFacts:
        material = self._material
        return SceneFacts(
            view=view,
            look=self._look,
            dentition=self._patient.shape.dentition,
            mirrored=self._mirrors and view in OCCLUSAL_VIEWS,
            shade=material.shade_word,
            gum=material.gum_word,
            findings=tell_findings(self._patient, material, sight.centres),
        )

    def _brush(self, noise: LatticeNoise) -> Callable[[Surface], Painted]:
        material, coat_points = self._material, coat if self._look == "photo" else cast_coat
        return lambda surface: paint(surface, coat_points(surface, material, noise), material.grain, noise)

    def _mouth(self, camera: Camera) -> tuple[Mesh, RayMesh]:
        """The mouth behind lips that fit the camera, or a cast, whose ray structure all views of the arch share."""
        view, arch = camera.view, ARCH_OF_VIEW[camera.view]
        if self._look == "scan":
            if arch not in self._casts:
                self._meshes[arch] = join_parts(self._patient.cast_parts(view))
                self._casts[arch] = RayMesh(self._meshes[arch].vertices, self._meshes[arch].faces)
            return self._meshes[arch], self._casts[arch]
        if arch not in self._meshes:
            self._meshes[arch] = join_parts(self._patient.visible_parts(view))
        lips = build_lips(camera, numpy_generator(self._seed, self._name(view), "lips"))
        mesh = join_meshes([self._meshes[arch], join_parts([lips])])
        return mesh, RayMesh(mesh.vertices, mesh.faces)


def geometry_maps(centres: Painted, camera: Camera, size: int) -> dict[str, MapArray]:
    """All maps that do not depend on the light, as in ``Phantom.maps``."""
    surface = centres.surface
    return {
        "seg": segmentation_map(centres, size),
        "fdi": fdi_map(surface, size),
        "normal": normal_map(surface, camera, size),
        "curvature": curvature_map(surface, size),
        "depth": depth_map(surface, size),
    }
