"""Render a set of procedural jaws into condition shards, on all cores.

One process per shard; a shard's bytes depend on the arguments alone, so a run that was killed continues where it
stopped. Refuses to know how a jaw is rendered.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from itertools import groupby, islice

from tqdm import tqdm

from dentgen import storage
from dentgen.conditions.phantom import Phantom, render_patient
from dentgen.conditions.phantom.camera import VIEWS
from dentgen.conditions.phantom.prompt import Look
from dentgen.errors import SpecError
from dentgen.shards.tar import json_bytes, png_bytes, tar_bytes

LICENCE = "CC0-1.0"
PARAMETERS = "phantoms.json"


@dataclass(frozen=True, slots=True)
class PhantomSet:
    """What decides a set of phantoms.

    Attributes:
        count, shard_size: Records of the set and of a shard; a record is one view under one lighting.
        seed: Seed of the set.
        size: Edge of the maps, pixels.
        lightings: Pictures of every view.
        look: Intra-oral photographs, or renders of scan models.
    """

    count: int
    seed: int
    size: int
    shard_size: int
    lightings: int = 1
    look: Look = "photo"


def write_phantoms(out: str, phantoms: PhantomSet, workers: int | None = None) -> int:
    """Render the missing shards of a set into ``out``.

    Args:
        out: Folder or URL.
        phantoms: The set.
        workers: Processes; None uses all cores.

    Returns:
        Number of shards rendered now.

    Raises:
        SpecError: If ``out`` already holds a set with other parameters.
    """
    _claim(out, phantoms)
    present = set(storage.list_names(out))
    shards = -(-phantoms.count // phantoms.shard_size)
    missing = [shard for shard in range(shards) if _shard_name(shard) not in present]
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(workers or os.cpu_count(), mp_context=context) as pool,
        tqdm(total=len(missing), unit="shard", desc="phantoms") as progress,
    ):
        jobs = [pool.submit(_write_shard, out, phantoms, shard) for shard in missing]
        for job in as_completed(jobs):
            job.result()
            progress.update()
    return len(missing)


def _claim(out: str, phantoms: PhantomSet) -> None:
    place = storage.join(out, PARAMETERS)
    wanted = _parameters(phantoms)
    if storage.put_if_absent(place, json_bytes(wanted)):
        return
    found = json.loads(storage.read_bytes(place))
    if found != wanted:
        raise SpecError(f"{place}: found phantoms of {found}, expected {wanted}: choose another folder")


def _parameters(phantoms: PhantomSet) -> dict[str, int | str]:
    """Fields of a set but options at their defaults: a set from before an option was invented stays the same."""
    defaults = {field.name: field.default for field in fields(phantoms)}
    return {name: value for name, value in asdict(phantoms).items() if value != defaults[name]}


def _shard_name(shard: int) -> str:
    return f"phantoms-{shard:06d}.tar"


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
        phantoms.seed, patient, phantoms.size, views, lightings=phantoms.lightings, look=phantoms.look
    )
    skipped = places[0] - first * phantoms.lightings
    yield from islice(rendered, skipped, skipped + len(places))


def phantom_members(phantom: Phantom) -> dict[str, bytes]:
    """Members of a phantom's condition record, by extension."""
    members = {f"{name}.png": png_bytes(array) for name, array in phantom.maps.items()}
    metadata = {
        **phantom.attributes,
        **phantom.findings,
        "group": phantom.group,
        "split": phantom.split,
        "prompt": phantom.prompt,
        "source": "dentgen procedural jaw",
        "license": LICENCE,
        "synthetic": True,
    }
    return {**members, "photo.png": png_bytes(phantom.picture), "json": json_bytes(metadata)}
