"""Photo sessions: picture, segmentation, FDI numbers, normals and depth of random records agree, pixel for pixel.

The oracle are the posed crowns: the point that depth and camera give for a pixel must lie on the tooth that the FDI map
names.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pytest
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree

from dentgen.conditions.labels import APPLIANCE, GINGIVA, RESTORATION, TOOTH
from dentgen.phantom.anatomy import Dentition
from dentgen.phantom.camera import OCCLUSAL_VIEWS, VIEWS, Camera
from dentgen.phantom.light import sample_lighting
from dentgen.phantom.noise import LatticeNoise
from dentgen.phantom.patient import Patient, build_patient
from dentgen.phantom.photo_session import PhotoSession, Shot
from dentgen.phantom.photograph import photograph
from dentgen.seeding import numpy_generator

SIZE = 96
#: Largest distance of a point from its tooth's nearest vertex or facet middle; the widest facets measure a millimetre.
ON_TOOTH_MM = 0.6
#: Largest median angle between normals and the slope of the depth on a record's even surfaces.
SLOPE_DEG = 12.0


def positions(shot: Shot) -> np.ndarray:
    """Points (H, W, 3) in mm, reconstructed from depth and camera."""
    surface, camera = shot.sight.centres.surface, shot.sight.camera
    solid = shot.maps["depth"].ravel() > 0
    near, far = surface.depth_mm[solid].min(), surface.depth_mm[solid].max()
    depth = near + (65535.0 - shot.maps["depth"].astype(float)) / 60000 * (far - near)
    row, column = np.mgrid[0:SIZE, 0:SIZE].reshape(2, -1) + 0.5
    rays = camera.rays(column, row, SIZE)
    along = depth.ravel() / -(rays @ camera.axes[2])
    return (camera.eye + rays * along[:, None]).reshape(SIZE, SIZE, 3)


def crowns(patient: Patient, occlusal: bool) -> dict[int, np.ndarray]:
    """Vertices and facet middles of every posed crown by FDI number, the lower ones moved by the bite opening."""
    opening = np.array([0.0, -patient.shape.opening_mm, 0.0])
    return {
        slot.fdi: np.concatenate([slot.vertices, slot.vertices[slot.crown.faces].mean(1)])
        + (opening if jaw is patient.lower and not occlusal else 0.0)
        for jaw in (patient.upper, patient.lower)
        for slot in jaw.teeth.slots
        if slot.vertices is not None and slot.crown is not None
    }


def slope_angles(
    points: np.ndarray, normal: np.ndarray, camera: Camera, seg: np.ndarray, fdi: np.ndarray
) -> np.ndarray:
    """Degrees between encoded normals and the depth's slope, where all neighbours lie on one even surface."""
    across, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
    slope = np.cross(down, across)
    slope /= np.maximum(np.linalg.norm(slope, axis=-1, keepdims=True), 1e-9)
    encoded = (normal[1:-1, 1:-1].astype(float) - 127.5) / 127.5
    encoded = encoded / np.maximum(np.linalg.norm(encoded, axis=-1, keepdims=True), 1e-9)
    label = seg.astype(int) * 100 + fdi
    even = np.isin(seg[1:-1, 1:-1], [GINGIVA, TOOTH])
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        even &= label[dy : dy + SIZE - 2, dx : dx + SIZE - 2] == label[1:-1, 1:-1]
    even &= (np.linalg.norm(across, axis=-1) < 3) & (np.linalg.norm(down, axis=-1) < 3)
    cosine = np.abs(((slope @ camera.axes.T) * encoded).sum(-1))
    return np.degrees(np.arccos(np.clip(cosine[even], 0, 1)))


def edge_strength(picture: np.ndarray, seg: np.ndarray, shift: tuple[int, int]) -> float:
    """Mean colour step (levels) across the border between teeth and gum in the shifted labels."""
    colour = picture.astype(float)
    moved = np.roll(seg, shift, (0, 1))
    tooth, gum = np.isin(moved, [TOOTH, RESTORATION]), moved == GINGIVA
    steps = []
    for axis in (0, 1):
        step = np.linalg.norm(np.roll(colour, -1, axis) - colour, axis=-1)
        ahead_tooth, ahead_gum = np.roll(tooth, -1, axis), np.roll(gum, -1, axis)
        steps.append(step[(gum & ahead_tooth) | (tooth & ahead_gum)])
    return float(np.concatenate(steps).mean())


def violations(seed: int, dentition: Dentition, number: int) -> list[str]:
    """All contradictions within one random record."""
    group, view = f"s{seed}-x{number:06d}", VIEWS[number % len(VIEWS)]
    patient = build_patient(seed, group, dentition)
    shot = PhotoSession(seed, patient, SIZE).shoot(view)
    picture = shot.picture(sample_lighting(numpy_generator(seed, group, "light"), {"harsh"}), "")
    seg, fdi, normal = shot.maps["seg"], shot.maps["fdi"], shot.maps["normal"].astype(np.uint8)
    solid = np.isin(seg, [GINGIVA, TOOTH, RESTORATION, APPLIANCE])
    found = []
    if not ((seg > 0) == solid).all():
        found.append("classes")
    if not (np.isin(seg, [TOOTH, RESTORATION]) == (fdi > 0)).all():
        found.append("teeth in seg and fdi")
    if not ((shot.maps["depth"] > 0) == solid).all() or not (normal.any(-1) == solid).all():
        found.append("surface in depth and normal")
    points, meshes = positions(shot), crowns(patient, view in OCCLUSAL_VIEWS)
    for tooth in set(np.unique(fdi).tolist()) - {0}:
        if tooth not in meshes:
            found.append(f"tooth {tooth} that is missing")
            continue
        distance, _ = cKDTree(meshes[tooth]).query(points[fdi == tooth])
        if distance.max() > ON_TOOTH_MM:
            found.append(f"tooth {tooth} is {distance.max():.2f} mm off its crown")
    angle = slope_angles(points, normal, shot.sight.camera, seg, fdi)
    if len(angle) > 50 and np.median(angle) > SLOPE_DEG:
        found.append(f"normals {np.median(angle):.1f} degrees off the depth's slope")
    here = edge_strength(picture, seg, (0, 0))
    better = [shift for shift in ((0, 2), (0, -2), (2, 0), (-2, 0)) if edge_strength(picture, seg, shift) >= here]
    found += [f"the picture's edges fit labels shifted by {shift} better" for shift in better]
    return [f"{group}-{view}: {problem}" for problem in found]


@pytest.mark.slow
def test_random_records_are_consistent() -> None:
    assert [problem for number in range(10) for problem in violations(811, "permanent", number)] == []
    assert [problem for number in range(3) for problem in violations(812, "deciduous", number)] == []


@pytest.mark.long
def test_a_thousand_records_are_consistent() -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        adults = pool.map(partial(violations, 813, "permanent"), range(800), chunksize=20)
        children = pool.map(partial(violations, 814, "deciduous"), range(200), chunksize=20)
        assert [problem for record in (*adults, *children) for problem in record] == []


def test_the_oracle_notices_shifted_labels() -> None:
    """An FDI map shifted by three pixels must break the reprojection."""
    patient = build_patient(811, "s811-x000000")
    shot = PhotoSession(811, patient, SIZE).shoot("upper-occlusal")
    points, meshes = positions(shot), crowns(patient, occlusal=True)
    shifted = np.roll(shot.maps["fdi"], 3, 1)
    inside = binary_erosion(shot.maps["fdi"] > 0)
    worst = max(
        cKDTree(meshes[tooth]).query(points[(shifted == tooth) & inside])[0].max(initial=0)
        for tooth in set(np.unique(shifted).tolist()) - {0}
    )
    assert worst > ON_TOOTH_MM


def test_further_lightings_draw_from_streams_of_their_own() -> None:
    """The grain of the first picture continues the texture's stream, that of others has its own."""
    shot = PhotoSession(3, build_patient(3, "s3-p000008"), 32).shoot("left")
    lighting = sample_lighting(numpy_generator("any"))
    texture = numpy_generator(3, "s3-p000008", "texture")
    LatticeNoise(texture)
    assert (shot.picture(lighting, "") == photograph(shot.sight, lighting, texture)).all()
    own = numpy_generator(3, "s3-p000008-left-l1", "grain")
    assert (shot.picture(lighting, "-l1") == photograph(shot.sight, lighting, own)).all()


@pytest.mark.integration
def test_pictures_can_be_taken_again_and_in_any_order() -> None:
    session = PhotoSession(3, build_patient(3, "s3-p000008"), 32)
    lighting = sample_lighting(numpy_generator("any"))
    first, second = session.shoot("frontal"), session.shoot("upper-occlusal")
    assert (session.shoot("frontal").maps["seg"] == first.maps["seg"]).all()
    picture = first.picture(lighting, "")
    second.picture(lighting, "")
    assert (first.picture(lighting, "") == picture).all()


@pytest.mark.integration
def test_mirrors_apply_to_occlusal_photographs_alone() -> None:
    patient = build_patient(3, "s3-p000008")
    session = PhotoSession(3, patient, 16, mirrors=True)
    assert not session.shoot("left").facts.mirrored
    assert session.shoot("lower-occlusal").facts.mirrored
    scan = PhotoSession(3, patient, 16, "scan", mirrors=True).shoot("upper-occlusal")
    assert not scan.facts.mirrored
    assert scan.key == "s3-p000008-scan-upper-occlusal"
