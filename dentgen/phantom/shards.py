"""Condition shards of procedural jaws, rendered on all cores of this machine or by a Ray cluster.

One process or Ray task renders one shard; its bytes depend on the arguments alone, so an interrupted run resumes where
it stopped.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from functools import partial
from itertools import groupby, islice
from typing import Any, Final

from dentgen import storage
from dentgen.conditions.motion import motion_levels
from dentgen.errors import SpecError
from dentgen.parallel.processes import map_processes
from dentgen.phantom.anatomy import Dentition
from dentgen.phantom.camera import VIEWS
from dentgen.phantom.prompt import Look
from dentgen.phantom.rays.grid import GridRayMesh
from dentgen.phantom.rays.mesh import RayMesh
from dentgen.phantom.render import Phantom, render_patient, render_series
from dentgen.phantom.series import Series, SeriesKind
from dentgen.phantom.surroundings.mix import Mix
from dentgen.progress import tracked
from dentgen.records import MOTION_MEMBERS
from dentgen.shards.parameters import claim_parameters
from dentgen.shards.tar import json_bytes, png_bytes, tar_bytes

LICENSE = "CC0-1.0"
PARAMETERS = "phantoms.json"
#: Incremented by every change of the renderer that changes pictures or maps, so that one set never mixes two versions.
EDITION: Final = 2
#: Likewise of changes to varied sets alone.
VARIED_EDITION: Final = 7
_DECIDED_BY_MIX: Final = ("look", "dentition", "mirrors")


@dataclass(frozen=True, slots=True)
class PhantomSet:
    """Parameters of a set of phantoms.

    Attributes:
        count: Records of the set; a record is one view under one lighting.
        seed: Seed of the set.
        size: Edge of maps and pictures, pixels.
        shard_size: Records per shard.
        lightings: Pictures per view.
        look: Intra-oral photographs, or renders of scan models.
        dentition: Adults, or children with deciduous teeth.
        mirrors: Take occlusal photographs in a mirror.
        mix: What a varied set shows how often; None for the standard views alone.
        series: Series of frames, one view of each patient in turn; None for single pictures of all views.
        frames: Frames of a series.
    """

    count: int
    seed: int
    size: int
    shard_size: int
    lightings: int = 1
    look: Look = "photo"
    dentition: Dentition = "permanent"
    mirrors: bool = False
    mix: Mix | None = None
    series: SeriesKind | None = None
    frames: int = 32


def write_phantoms(out: str, phantoms: PhantomSet, workers: int | None = None, address: str | None = None) -> int:
    """Render the missing shards of a set into ``out``.

    Args:
        out: Folder or URL.
        phantoms: Parameters of the set.
        workers: Number of processes; None uses all cores.
        address: Ray cluster that renders instead of this machine, one task per shard; its nodes must be able to reach
            ``out``.

    Returns:
        Number of shards rendered by this run.

    Raises:
        SpecError: If ``out`` already holds a set with other parameters, a node would render other bytes, mirrors are
            combined with scan models, a series with what it has not, or ``count`` is no multiple of a series' frames.
    """
    _check(phantoms)
    storage.require_writable(out)
    claim_parameters(out, PARAMETERS, _parameters(phantoms))
    present = set(storage.list_names(out))
    shards = -(-phantoms.count // phantoms.shard_size)
    missing = [shard for shard in range(shards) if _shard_name(shard) not in present]
    if address is None:
        done = map_processes(partial(_write_shard, out, phantoms), missing, workers)
    else:
        from dentgen.parallel.ray_session import for_workers, map_cluster

        work = partial(_write_claimed_shard, for_workers(out), phantoms, claimed=_parameters(phantoms))
        done = map_cluster(work, missing, address)
    with closing(done):  # ends the processes whatever ends the loop
        for _ in tracked(done, "phantoms", "shard", len(missing)):
            pass
    return len(missing)


def _check(phantoms: PhantomSet) -> None:
    """Refuse parameters that contradict each other."""
    decided = [field for field in fields(PhantomSet) if field.name in _DECIDED_BY_MIX]
    values = {field.name: getattr(phantoms, field.name) for field in decided}
    changed = {field.name: values[field.name] for field in decided if values[field.name] != field.default}
    if phantoms.mix is not None and changed:
        raise SpecError(key="mix", found=f"{changed} beside it", expected="a mix alone, which decides these itself")
    if phantoms.mirrors and phantoms.look == "scan":
        raise SpecError(
            key="mirrors", found="mirrors with the look 'scan'", expected="mirrors only with the look 'photo'"
        )
    unlike = {"mix": phantoms.mix is not None, "mirrors": phantoms.mirrors, "lightings": phantoms.lightings > 1}
    if phantoms.series is not None and any(unlike.values()):
        found = ", ".join(name for name, given in unlike.items() if given)
        raise SpecError(key="series", found=f"{found} beside it", expected="a series of standard views under one light")
    if phantoms.series is not None and phantoms.count % phantoms.frames:
        expected = f"a multiple of frames, {phantoms.frames}: whole series"
        raise SpecError(key="count", found=phantoms.count, expected=expected)


def _parameters(phantoms: PhantomSet) -> dict[str, Any]:
    """Content of the parameters file: the edition and all fields that differ from their defaults and decide bytes.

    Leaving out defaults keeps existing sets valid when an option is added. The grid's rays differ from Embree's in a
    few pixels on outlines, so a set traced by the grid records that.
    """
    defaults = {field.name: field.default for field in fields(phantoms)}
    set_fields = {name: value for name, value in asdict(phantoms).items() if value != defaults[name]}
    if phantoms.series is None:
        set_fields.pop("frames", None)  # single pictures have none
    if phantoms.mix is not None:
        set_fields["mix"] = phantoms.mix.model_dump(exclude_defaults=True)
        set_fields["varied_edition"] = VARIED_EDITION
    rays: dict[str, str] = {"rays": "grid"} if RayMesh.accelerator is GridRayMesh else {}
    return {"edition": EDITION, **set_fields, **rays}


def _shard_name(shard: int) -> str:
    return f"phantoms-{shard:06d}.tar"


def _write_claimed_shard(out: str, phantoms: PhantomSet, shard: int, claimed: dict[str, Any]) -> None:
    """Render a shard unless this node would render other bytes: it may run another edition, or lack Embree."""
    if _parameters(phantoms) != claimed:
        raise SpecError(
            "this node renders other bytes than the driver",
            file=platform.node(),
            found=_parameters(phantoms),
            expected=claimed,
            advice="install the same dentgen, with or without embreex, on all nodes",
        )
    _write_shard(out, phantoms, shard)


def _write_shard(out: str, phantoms: PhantomSet, shard: int) -> None:
    samples = ((phantom.key, phantom_members(phantom)) for phantom in _shard_phantoms(phantoms, shard))
    storage.put_if_absent(storage.join(out, _shard_name(shard)), tar_bytes(samples))


def _shard_phantoms(phantoms: PhantomSet, shard: int) -> Iterator[Phantom]:
    start = shard * phantoms.shard_size
    numbers = range(start, min(start + phantoms.shard_size, phantoms.count))
    if phantoms.series is not None:
        yield from _frames(phantoms, Series(phantoms.series, phantoms.frames), numbers)
        return
    for patient, records in groupby(numbers, key=lambda n: n // (len(VIEWS) * phantoms.lightings)):
        yield from _patient_phantoms(phantoms, patient, [n % (len(VIEWS) * phantoms.lightings) for n in records])


def _frames(phantoms: PhantomSet, series: Series, numbers: range) -> Iterator[Phantom]:
    """Records of a set of series, one series per patient."""
    for patient in range(numbers.start // series.frames, -(-numbers.stop // series.frames)):
        first = patient * series.frames
        places = range(max(numbers.start - first, 0), min(numbers.stop - first, series.frames))
        yield from render_series(
            phantoms.seed, patient, phantoms.size, series, places, look=phantoms.look, dentition=phantoms.dentition
        )


def _patient_phantoms(phantoms: PhantomSet, patient: int, places: list[int]) -> Iterator[Phantom]:
    """Records of one patient at consecutive places, ordered by view and lighting."""
    first, last = places[0] // phantoms.lightings, places[-1] // phantoms.lightings
    views = VIEWS[first : last + 1]
    rendered = render_patient(
        phantoms.seed, patient, phantoms.size, views, lightings=phantoms.lightings, look=phantoms.look,
        dentition=phantoms.dentition, mirrors=phantoms.mirrors, mix=phantoms.mix,
    )  # fmt: skip
    skipped = places[0] - first * phantoms.lightings
    yield from islice(rendered, skipped, skipped + len(places))


def phantom_members(phantom: Phantom) -> dict[str, bytes]:
    """Encode a phantom as the members of a condition record, by extension; maps and photo as PNG, metadata as JSON."""
    members = {f"{name}.png": png_bytes(array) for name, array in phantom.maps.items()}
    metadata = {
        **phantom.attributes,
        "group": phantom.group,
        "split": phantom.split,
        "prompt": phantom.prompt,
        "source": "dentgen procedural jaw",
        "license": LICENSE,
        "synthetic": True,
        **({} if phantom.frame is None else {"series": phantom.frame.series, "frame": phantom.frame.number}),
    }
    if phantom.motion is not None:
        levels = zip(MOTION_MEMBERS, motion_levels(phantom.motion), strict=True)
        members |= {f"{name}.png": png_bytes(level) for name, level in levels}
    return {**members, "photo.png": png_bytes(phantom.picture), "json": json_bytes(metadata)}
