"""Brute-force ray casting, and the random meshes that it is compared on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dentgen.phantom.mesh import grid_faces


class Hits(NamedTuple):
    """First hits of rays: face (-1 if none), distance (infinite if none), barycentric u and v."""

    face: np.ndarray
    distance: np.ndarray
    u: np.ndarray
    v: np.ndarray


def brute_force(vertices: np.ndarray, faces: np.ndarray, origin: np.ndarray, direction: np.ndarray) -> Hits:
    """Test every ray against every triangle (Moeller and Trumbore 1997)."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    edge_1, edge_2 = b - a, c - a
    rows = []
    for o, d in zip(origin, direction, strict=True):
        p = np.cross(d, edge_2)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            inverse = 1 / (edge_1 * p).sum(1)
            s = o - a
            q = np.cross(s, edge_1)
            u, v, t = (s * p).sum(1) * inverse, (q @ d) * inverse, (edge_2 * q).sum(1) * inverse
            u, v, t = (np.where(np.isfinite(inverse), value, -1) for value in (u, v, t))
        t = np.where((u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0), t, np.inf)
        face = int(t.argmin())
        rows.append((face, t[face], u[face], v[face]) if np.isfinite(t[face]) else (-1, np.inf, 0.0, 0.0))
    return Hits(*(np.array(column) for column in zip(*rows, strict=True)))


def soup(rng: np.random.Generator, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of all sizes in 24 x 9 x 15 mm; a third of them is flat along an axis."""
    corners = rng.uniform(0, 1, (count, 1, 3)) * [24, 9, 15] + rng.normal(0, 1, (count, 3, 3)) * rng.choice(
        [0.05, 0.5, 3.0], (count, 1, 1)
    )
    corners[::3, :, 1] = corners[::3, :1, 1]
    return corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3)


def sheet() -> tuple[np.ndarray, np.ndarray]:
    """A bowl-shaped sheet of 60 x 60 vertices over 20 x 20 mm."""
    y, x = np.meshgrid(np.linspace(-10, 10, 60), np.linspace(-10, 10, 60), indexing="ij")
    return np.stack([x, y, 0.03 * (x**2 + y**2) + 0.2 * np.sin(3 * x)], -1).reshape(-1, 3), grid_faces(60, 60)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors scaled to length 1."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
