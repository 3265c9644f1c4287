"""Render a set of procedural jaws into condition shards, on all cores or by a Ray cluster.

One process or task per shard; a shard's bytes depend on the arguments alone, so a run that was killed continues where
it stopped. Refuses to know how a jaw is rendered.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from functools import partial
from itertools import groupby, islice
from typing import Final

from tqdm import tqdm

from dentgen import storage
from dentgen.errors import SpecError
from dentgen.parallel.processes import map_processes
from dentgen.phantom.anatomy import Dentition
from dentgen.phantom.camera import VIEWS
from dentgen.phantom.prompt import Look
from dentgen.phantom.rays.grid import GridRayMesh
from dentgen.phantom.rays.mesh import RayMesh
from dentgen.phantom.render import Phantom, render_patient
from dentgen.shards.tar import json_bytes, png_bytes, tar_bytes

LICENSE = "CC0-1.0"
PARAMETERS = "phantoms.json"
#: Counts changes of the renderer that change pictures or maps: shards of two editions never mix in one set.
EDITION: Final = 2


@dataclass(frozen=True, slots=True)
class PhantomSet:
    """What decides a set of phantoms.

    Attributes:
        count, shard_size: Records of the set and of a shard; a record is one view under one lighting.
        seed: Seed of the set.
        size: Edge of the maps, pixels.
        lightings: Pictures of every view.
        look: Intra-oral photographs, or renders of scan models.
        dentition: Adults, or children with their deciduous teeth.
        mirrors: Take occlusal photographs in a mirror.
    """

    count: int
    seed: int
    size: int
    shard_size: int
    lightings: int = 1
    look: Look = "photo"
    dentition: Dentition = "permanent"
    mirrors: bool = False


def write_phantoms(out: str, phantoms: PhantomSet, workers: int | None = None, address: str | None = None) -> int:
    """Render the missing shards of a set into ``out``.

    Args:
        out: Folder or URL.
        phantoms: The set.
        workers: Processes; None uses all cores.
        address: Ray cluster that renders instead of this machine, a task a shard; ``out`` must be where its nodes reach
            it.

    Returns:
        Number of shards rendered now.

    Raises:
        SpecError: If ``out`` already holds a set with other parameters, a node renders differently, or scan models are
            wanted in a mirror.
    """
    if phantoms.mirrors and phantoms.look == "scan":
        raise SpecError("found mirrors for scan models, expected them for photographs alone")
    _claim(out, phantoms)
    present = set(storage.list_names(out))
    shards = -(-phantoms.count // phantoms.shard_size)
    missing = [shard for shard in range(shards) if _shard_name(shard) not in present]
    if address is None:
        done = map_processes(partial(_write_shard, out, phantoms), missing, workers)
    else:
        from dentgen.parallel.ray_session import absolute, map_cluster

        work = partial(_write_claimed_shard, absolute(out), phantoms, claimed=_parameters(phantoms))
        done = map_cluster(work, missing, address)
    for _ in tqdm(done, total=len(missing), unit="shard", desc="phantoms"):
        pass
    return len(missing)


def _claim(out: str, phantoms: PhantomSet) -> None:
    place = storage.join(out, PARAMETERS)
    wanted = _parameters(phantoms)
    if storage.put_if_absent(place, json_bytes(wanted)):
        return
    found = json.loads(storage.read_bytes(place))
    if found != wanted:
        raise SpecError(f"{place}: found phantoms of {found}, expected {wanted}: choose another folder")


def _parameters(phantoms: PhantomSet) -> dict[str, int | str | bool]:
    """Edition, and fields of a set but options at their defaults: inventing an option changes no set without it.

    Rays that go through the grid meet other triangles in a few pixels of outlines: a set names them, and keeps to them.
    """
    defaults = {field.name: field.default for field in fields(phantoms)}
    set_fields = {name: value for name, value in asdict(phantoms).items() if value != defaults[name]}
    rays: dict[str, str] = {"rays": "grid"} if RayMesh.accelerator is GridRayMesh else {}
    return {"edition": EDITION, **set_fields, **rays}


def _shard_name(shard: int) -> str:
    return f"phantoms-{shard:06d}.tar"


def _write_claimed_shard(out: str, phantoms: PhantomSet, shard: int, claimed: dict[str, int | str | bool]) -> None:
    """Refuse to mix: a node may have another edition than the driver, or no Embree."""
    if _parameters(phantoms) != claimed:
        raise SpecError(f"{platform.node()}: renders {_parameters(phantoms)}, the set is of {claimed}")
    _write_shard(out, phantoms, shard)


def _write_shard(out: str, phantoms: PhantomSet, shard: int) -> None:
    samples = ((phantom.key, phantom_members(phantom)) for phantom in _shard_phantoms(phantoms, shard))
    storage.put_if_absent(storage.join(out, _shard_name(shard)), tar_bytes(samples))


def _shard_phantoms(phantoms: PhantomSet, shard: int) -> Iterator[Phantom]:
    start = shard * phantoms.shard_size
    numbers = range(start, min(start + phantoms.shard_size, phantoms.count))
    for patient, records in groupby(numbers, key=lambda n: n // (len(VIEWS) * phantoms.lightings)):
        yield from _patient_phantoms(phantoms, patient, [n % (len(VIEWS) * phantoms.lightings) for n in records])


def _patient_phantoms(phantoms: PhantomSet, patient: int, places: list[int]) -> Iterator[Phantom]:
    """Records of one patient at consecutive places: view by view, lighting by lighting."""
    first, last = places[0] // phantoms.lightings, places[-1] // phantoms.lightings
    views = VIEWS[first : last + 1]
    rendered = render_patient(
        phantoms.seed, patient, phantoms.size, views, lightings=phantoms.lightings, look=phantoms.look,
        dentition=phantoms.dentition, mirrors=phantoms.mirrors,
    )  # fmt: skip
    skipped = places[0] - first * phantoms.lightings
    yield from islice(rendered, skipped, skipped + len(places))


def phantom_members(phantom: Phantom) -> dict[str, bytes]:
    """Members of a phantom's condition record, by extension."""
    members = {f"{name}.png": png_bytes(array) for name, array in phantom.maps.items()}
    metadata = {
        **phantom.attributes,
        "group": phantom.group,
        "split": phantom.split,
        "prompt": phantom.prompt,
        "source": "dentgen procedural jaw",
        "license": LICENSE,
        "synthetic": True,
    }
    return {**members, "photo.png": png_bytes(phantom.picture), "json": json_bytes(metadata)}
