"""Procedural jaws: condition records with a reference picture, rendered from nothing but a seed.

``render_patient`` walks the path in order: patient, camera, scene, maps, picture. Each has its own random stream, so a
change of one never moves the others. Refuses to know files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.phantom.camera import VIEWS, View, sample_camera
from dentgen.conditions.phantom.light import sample_lighting
from dentgen.conditions.phantom.maps import (
    curvature_map,
    depth_map,
    fdi_map,
    lighting_map,
    normal_map,
    segmentation_map,
)
from dentgen.conditions.phantom.material import sample_material
from dentgen.conditions.phantom.mesh import Mesh, join_meshes, join_parts
from dentgen.conditions.phantom.mouth import build_lips
from dentgen.conditions.phantom.patient import Patient, build_patient
from dentgen.conditions.phantom.picture import reference_picture
from dentgen.conditions.phantom.prompt import ARCH_OF_VIEW, scene_prompt
from dentgen.conditions.phantom.scene import Scene
from dentgen.records import MapArray
from dentgen.seeding import derive_seed, numpy_generator

SPLIT_SHARES = (("train", 0.8), ("validation", 0.1), ("test", 0.1))


@dataclass(frozen=True, slots=True)
class Phantom:
    """One rendered view of one patient.

    Attributes:
        key, group, split: Record key, patient, and the split that all the patient's views share.
        prompt: What is in the scene.
        attributes: View, arch, shade, gum and light as words.
        maps: ``seg``, ``fdi``, ``light``, ``curvature`` (H, W) uint8; ``normal`` (H, W, 3); ``depth`` (H, W) uint16.
        picture: (H, W, 3) uint8 sRGB reference picture.
    """

    key: str
    group: str
    split: str
    prompt: str
    attributes: dict[str, str]
    maps: dict[str, MapArray]
    picture: NDArray[np.uint8]


def phantom_group(seed: int, number: int) -> str:
    """Name of the patient with this number."""
    return f"s{seed}-p{number:06d}"


def phantom_split(group: str) -> str:
    """Split of a patient, by hash: adding patients never moves one to another split."""
    place = derive_seed("split", group) % 1000 / 1000
    for name, share in SPLIT_SHARES:
        if place < share:
            return name
        place -= share
    return SPLIT_SHARES[-1][0]


def render_patient(seed: int, number: int, size: int, views: tuple[View, ...] = VIEWS) -> Iterator[Phantom]:
    """Render views of one patient; the same arguments give the same bytes.

    Args:
        seed: Seed of the set.
        number: Which patient.
        size: Edge of the square maps, pixels.
        views: Which of the standard views.
    """
    group = phantom_group(seed, number)
    patient = build_patient(seed, group)
    meshes: dict[str, Mesh] = {}
    for view in views:
        arch = ARCH_OF_VIEW[view]
        if arch not in meshes:
            meshes[arch] = join_parts(patient.visible_parts(view))
        yield _render_view(seed, patient, meshes[arch], view, size)


def _render_view(seed: int, patient: Patient, jaws: Mesh, view: View, size: int) -> Phantom:
    key = f"{patient.group}-{view}"
    material = sample_material(numpy_generator(seed, patient.group, "material"))
    lighting = sample_lighting(numpy_generator(seed, key, "light"))
    camera = sample_camera(view, patient.front_mm, numpy_generator(seed, key, "camera"))
    lips = build_lips(camera, numpy_generator(seed, key, "lips"))
    scene = Scene(join_meshes([jaws, join_parts([lips])]), camera, size)
    surface = scene.trace_centres()
    maps: dict[str, MapArray] = {
        "seg": segmentation_map(surface, size),
        "fdi": fdi_map(surface, size),
        "light": lighting_map(surface, lighting, camera, size),
        "normal": normal_map(surface, camera, size),
        "curvature": curvature_map(surface, size),
        "depth": depth_map(surface, size),
    }
    texture = numpy_generator(seed, patient.group, "texture")
    return Phantom(
        key=key,
        group=patient.group,
        split=phantom_split(patient.group),
        prompt=scene_prompt(view, material.shade_word, material.gum_word, lighting.kind),
        attributes={
            "view": view,
            "arch": ARCH_OF_VIEW[view],
            "shade": material.shade_word,
            "gum": material.gum_word,
            "light": lighting.kind,
        },
        maps=maps,
        picture=reference_picture(scene, surface, material, lighting, texture),
    )
