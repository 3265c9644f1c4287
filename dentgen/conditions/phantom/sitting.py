"""A sitting: one patient before the camera.

Shares what a mouth's pictures have in common: meshes between the views of an arch, geometry and paint between the
lightings of a view. Refuses to know how records are named and split.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.phantom.camera import Camera, View, sample_camera
from dentgen.conditions.phantom.light import Lighting
from dentgen.conditions.phantom.maps import (
    curvature_map,
    depth_map,
    fdi_map,
    lighting_map,
    normal_map,
    segmentation_map,
)
from dentgen.conditions.phantom.material import Material, sample_material
from dentgen.conditions.phantom.mesh import Mesh, join_meshes, join_parts
from dentgen.conditions.phantom.mouth import build_lips
from dentgen.conditions.phantom.noise import LatticeNoise
from dentgen.conditions.phantom.patient import Patient
from dentgen.conditions.phantom.picture import photograph
from dentgen.conditions.phantom.prompt import ARCH_OF_VIEW
from dentgen.conditions.phantom.rays import RayMesh
from dentgen.conditions.phantom.scene import Scene, Surface
from dentgen.conditions.phantom.shading import Painted, paint
from dentgen.conditions.phantom.sight import Sight, look
from dentgen.conditions.phantom.tissue import coat
from dentgen.records import MapArray
from dentgen.seeding import numpy_generator


@dataclass(frozen=True, slots=True)
class Shot:
    """One view of a mouth before any lamp is lit.

    Attributes:
        seed, key: Name the shot's random streams; the key is that of the first lighting's record.
        view: Which view.
        material: The patient's colours.
        sight: What the camera sees.
        maps: All maps but ``light``.
        texture: The stream that drew the patient's texture; the first picture's grain comes next in it.
    """

    seed: int
    key: str
    view: View
    material: Material
    sight: Sight
    maps: dict[str, MapArray]
    texture: np.random.Generator

    def lighting_map(self, lighting: Lighting) -> NDArray[np.uint8]:
        """(H, W) clay under the lamps."""
        return lighting_map(self.sight.centres.surface, lighting, self.sight.camera, self.sight.size)

    def picture(self, key: str, lighting: Lighting) -> NDArray[np.uint8]:
        """(H, W, 3) reference picture for the record ``key``."""
        grain = deepcopy(self.texture) if key == self.key else numpy_generator(self.seed, key, "grain")
        return photograph(self.sight, lighting, grain)


class Sitting:
    """A patient's mouth, ready for pictures of one size."""

    def __init__(self, seed: int, patient: Patient, size: int) -> None:
        """Draw the patient's colours."""
        self._seed = seed
        self._patient = patient
        self._size = size
        self._material = sample_material(numpy_generator(seed, patient.group, "material"))
        self._meshes: dict[str, Mesh] = {}

    def shoot(self, view: View) -> Shot:
        """See one view of the mouth."""
        seed, key = self._seed, f"{self._patient.group}-{view}"
        camera = sample_camera(view, self._patient.front_mm, numpy_generator(seed, key, "camera"))
        scene = self._scene(camera, numpy_generator(seed, key, "lips"))
        texture = numpy_generator(seed, self._patient.group, "texture")
        noise = LatticeNoise(texture)

        def brush(surface: Surface) -> Painted:
            return paint(surface, coat(surface, self._material, noise), self._material.grain, noise)

        centres = scene.trace_centres()
        maps = _geometry_maps(centres, camera, self._size)
        return Shot(seed, key, view, self._material, look(scene, centres, brush), maps, texture)

    def _scene(self, camera: Camera, rng: np.random.Generator) -> Scene:
        mesh = join_meshes([self._mouth(camera.view), join_parts([build_lips(camera, rng)])])
        return Scene(mesh, RayMesh(mesh.vertices, mesh.faces), camera, self._size)

    def _mouth(self, view: View) -> Mesh:
        arch = ARCH_OF_VIEW[view]
        if arch not in self._meshes:
            self._meshes[arch] = join_parts(self._patient.visible_parts(view))
        return self._meshes[arch]


def _geometry_maps(surface: Surface, camera: Camera, size: int) -> dict[str, MapArray]:
    return {
        "seg": segmentation_map(surface, size),
        "fdi": fdi_map(surface, size),
        "normal": normal_map(surface, camera, size),
        "curvature": curvature_map(surface, size),
        "depth": depth_map(surface, size),
    }
