"""Procedural jaws: condition records with a reference picture, rendered from nothing but a seed.

``render_patient`` walks the path in order: patient, camera, scene, maps, lamps, picture. Each has its own random
stream, so a change of one never moves the others. Refuses to know files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dentgen.phantom.anatomy import Dentition
from dentgen.phantom.camera import VIEWS, View
from dentgen.phantom.light import Lighting, sample_lightings
from dentgen.phantom.patient import build_patient
from dentgen.phantom.photo_session import PhotoSession, Shot
from dentgen.phantom.prompt import Look, scene_prompt
from dentgen.records import MapArray
from dentgen.seeding import derive_seed, numpy_generator

SPLIT_SHARES = (("train", 0.8), ("validation", 0.1), ("test", 0.1))


@dataclass(frozen=True, slots=True)
class Phantom:
    """One rendered view of one patient under one lighting.

    Attributes:
        key, group, split: Record key, patient, and the split that all the patient's views share.
        prompt: What is in the scene.
        attributes: View, arch, shade, gum and light as words, and what the picture shows: ``missing_teeth``,
            ``restorations`` and ``caries`` as counts; ``braces``, ``plaque``, ``stain`` and ``mirrored``, yes or no.
        maps: ``seg``, ``fdi``, ``light``, ``curvature`` (H, W) uint8; ``normal`` (H, W, 3); ``depth`` (H, W) uint16.
        picture: (H, W, 3) uint8 sRGB reference picture.
    """

    key: str
    group: str
    split: str
    prompt: str
    attributes: dict[str, str | int]
    maps: dict[str, MapArray]
    picture: NDArray[np.uint8]


def phantom_group(seed: int, number: int, dentition: Dentition = "permanent") -> str:
    """Name of the patient with this number: p for adults, c for children with their deciduous teeth."""
    return f"s{seed}-{'p' if dentition == 'permanent' else 'c'}{number:06d}"


def phantom_split(group: str) -> str:
    """Split of a patient, by hash: adding patients never moves one to another split."""
    place = derive_seed("split", group) % 1000 / 1000
    for name, share in SPLIT_SHARES:
        if place < share:
            return name
        place -= share
    return SPLIT_SHARES[-1][0]


def render_patient(
    seed: int,
    number: int,
    size: int,
    views: tuple[View, ...] = VIEWS,
    *,
    lightings: int = 1,
    look: Look = "photo",
    dentition: Dentition = "permanent",
    mirrors: bool = False,
) -> Iterator[Phantom]:
    """Render views of one patient; the same arguments give the same bytes, as long as the same code traces the rays.

    Args:
        seed: Seed of the set.
        number: Which patient.
        size: Edge of the square maps, pixels.
        views: Which of the standard views.
        lightings: Pictures of each view. The first is keyed by patient and view, the others by ``-l1``, ``-l2`` and
            so on behind that; only the lamps, the lighting map and the prompt's word for the light differ.
        look: An intra-oral photograph, or a render of the same mouth's scan model (keys ``GROUP-scan-VIEW``) under the
            same lamps, whose maps know no lips, cheeks, palate and tongue.
        dentition: Adults, or children with their deciduous teeth (groups ``sN-cNNNNNN``).
        mirrors: Take occlusal photographs in a mirror, as clinics do (keys ``GROUP-mirror-VIEW``): flipped left to
            right, with every tooth's own number.
    """
    group = phantom_group(seed, number, dentition)
    sitting = PhotoSession(seed, build_patient(seed, group, dentition), size, look, mirrors=mirrors)
    for view in views:
        shot = sitting.shoot(view)
        suffixes = [f"-l{light}" if light else "" for light in range(lightings)]
        lamps = sample_lightings(numpy_generator(seed, shot.name + suffix, "light") for suffix in suffixes)
        for suffix, lighting in zip(suffixes, lamps, strict=True):
            yield _phantom(group, shot, lighting, suffix)


def _phantom(group: str, shot: Shot, lighting: Lighting, suffix: str) -> Phantom:
    return Phantom(
        key=shot.key + suffix,
        group=group,
        split=phantom_split(group),
        prompt=scene_prompt(shot.facts, lighting.kind),
        attributes={**shot.facts.attributes, "lighting": lighting.kind},
        maps={**shot.maps, "light": shot.lighting_map(lighting)},
        picture=shot.picture(lighting, suffix),
    )
