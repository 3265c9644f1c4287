"""Rendering of procedural jaws: condition maps with a reference picture, a prompt and metadata, from a seed alone.

Patient, camera, lamps and picture draw from separate random streams, so a change to one leaves the others as they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.splits import drawn_split
from dentgen.phantom.anatomy import Dentition
from dentgen.phantom.camera import VIEWS, View
from dentgen.phantom.light import Lighting, sample_lightings
from dentgen.phantom.patient import build_patient
from dentgen.phantom.photo_session import PhotoSession, Shot
from dentgen.phantom.prompt import Look, scene_prompt
from dentgen.phantom.series import Series, motion_to, sample_swinging, standing, swing
from dentgen.phantom.surroundings.mix import Mix
from dentgen.phantom.surroundings.varied_session import VariedSession
from dentgen.records import Frame, MapArray
from dentgen.seeding import numpy_generator


@dataclass(frozen=True, slots=True)
class Phantom:
    """One rendered view of one patient under one lighting.

    Attributes:
        key: Record key.
        group: Name of the patient.
        split: Split of the patient, shared by all its records.
        prompt: Description of the picture.
        attributes: ``view``, ``arch``, ``look``, ``dentition``, ``shade``, ``gum`` and ``lighting`` as words; counts
            ``missing_teeth``, ``restorations`` and ``caries``; ``braces``, ``plaque``, ``stain`` and ``mirrored`` as
            "yes" or "no". A varied set adds ``framing``, ``things`` and ``lesions``.
        maps: ``seg``, ``fdi``, ``light``, ``curvature`` (H, W) uint8; ``normal`` (H, W, 3) uint8; ``depth`` (H, W)
            uint16; of a varied set also ``lesion`` (H, W) uint8.
        picture: (H, W, 3) uint8 sRGB reference picture.
        frame: Its place in a series, None for single pictures.
        motion: (H, W, 2) float32 as ``ConditionRecord.motion``, of a frame of an orbit.
    """

    key: str
    group: str
    split: str
    prompt: str
    attributes: dict[str, str | int]
    maps: dict[str, MapArray]
    picture: NDArray[np.uint8]
    frame: Frame | None = None
    motion: NDArray[np.float32] | None = None


def phantom_group(seed: int, number: int, dentition: Dentition = "permanent") -> str:
    """Name of a patient: ``sSEED-pNUMBER`` for adults, ``sSEED-cNUMBER`` for children with deciduous teeth."""
    return f"s{seed}-{'p' if dentition == 'permanent' else 'c'}{number:06d}"


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
    mix: Mix | None = None,
) -> Iterator[Phantom]:
    """Render views of one patient; equal arguments give equal bytes with the same ray accelerator.

    Args:
        seed: Seed of the set.
        number: Number of the patient.
        size: Edge of the square maps and pictures, pixels.
        views: Standard views to render.
        lightings: Pictures per view. The first is keyed ``GROUP-VIEW``, the others get a suffix ``-l1``, ``-l2`` and so
            on; only the picture, the lighting map, the ``lighting`` attribute and the prompt's light phrase differ.
        look: Intra-oral photographs, or renders of the same mouth's scan model (keys ``GROUP-scan-VIEW``) under the
            same lamps, without lips, cheeks, palate and tongue.
        dentition: Adults, or children with deciduous teeth.
        mirrors: Take occlusal photographs in a mirror, as clinics do (keys ``GROUP-mirror-VIEW``): flipped left to
            right, while every tooth keeps its FDI number.
        mix: Take the pictures in settings that this decides (keys ``GROUP-FRAMING-VIEW``), from diseased mouths too,
            with classes for what lies before the teeth and a ``lesion`` map; ``look``, ``dentition`` and ``mirrors``
            are then left at their defaults.

    Yields:
        The records, view by view and lighting by lighting.
    """
    session: PhotoSession | VariedSession
    if mix is None:
        group = phantom_group(seed, number, dentition)
        session = PhotoSession(seed, build_patient(seed, group, dentition), size, look, mirrors=mirrors)
    else:
        dentition = "deciduous" if numpy_generator(seed, number, "age").random() < mix.children else "permanent"
        group = phantom_group(seed, number, dentition)
        session = VariedSession(seed, group, dentition, size, mix)
    for view in views:
        shot = session.shoot(view)
        suffixes = [f"-l{light}" if light else "" for light in range(lightings)]
        lamps = sample_lightings(numpy_generator(seed, shot.name + suffix, "light") for suffix in suffixes)
        for suffix, lighting in zip(suffixes, lamps, strict=True):
            yield _phantom(group, shot, lighting, suffix)


def render_series(
    seed: int,
    number: int,
    size: int,
    series: Series,
    places: range,
    *,
    look: Look = "photo",
    dentition: Dentition = "permanent",
) -> Iterator[Phantom]:
    """Render frames of one patient in one view; equal arguments give equal bytes with the same ray accelerator.

    Args:
        seed: Seed of the set.
        number: Number of the patient, which also chooses the view: patients take turns.
        size: Edge of the square maps and pictures, pixels.
        series: What moves: the camera, before lamps that stand still, or the lamps.
        places: Numbers of the frames to render.
        look: As for ``render_patient``.
        dentition: Likewise.

    Yields:
        The frames, keyed ``GROUP-VIEW-KIND-f000`` and so on. Each has a grain of its own.
    """
    group, view = phantom_group(seed, number, dentition), VIEWS[number % len(VIEWS)]
    session = PhotoSession(seed, build_patient(seed, group, dentition), size, look)
    frames = _orbit_frames if series.kind == "orbit" else _light_frames
    for place, (shot, lighting, motion) in zip(places, frames(session, view, series.frames, places), strict=True):
        name = f"{shot.key}-{series.kind}"
        phantom = _phantom(group, shot, lighting, f"-{series.kind}-f{place:03d}")
        yield replace(phantom, frame=Frame(name, place), motion=motion)


_Frame = tuple[Shot, Lighting, NDArray[np.float32] | None]


def _orbit_frames(session: PhotoSession, view: View, frames: int, places: range) -> Iterator[_Frame]:
    for shot, first in session.shoot_orbit(view, frames, places):
        (lighting,) = sample_lightings([numpy_generator(shot.seed, shot.name, "light")])
        yield shot, standing(lighting, first.camera, shot.sight.camera), motion_to(first, shot.sight.centres.surface)


def _light_frames(session: PhotoSession, view: View, frames: int, places: range) -> Iterator[_Frame]:
    shot = session.shoot(view)
    lighting = sample_swinging(numpy_generator(shot.seed, shot.name, "light"))
    for place in places:
        yield shot, swing(lighting, place, frames), None


def _phantom(group: str, shot: Shot, lighting: Lighting, suffix: str) -> Phantom:
    return Phantom(
        key=shot.key + suffix,
        group=group,
        split=drawn_split(group),
        prompt=scene_prompt(shot.facts, lighting.kind),
        attributes={**shot.facts.attributes, "lighting": lighting.kind},
        maps={**shot.maps, "light": shot.lighting_map(lighting)},
        picture=shot.picture(lighting, suffix),
    )
