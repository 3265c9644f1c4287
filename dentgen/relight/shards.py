"""Condition shards under other light: every record several times, with lighting maps of a plain shading model.

One output tar per input shard, its bytes decided by the arguments and the input, put only if absent: a run that was
killed continues where it stopped. Records that cannot be relit are left out and named, again by every later run.
Refuses to know how light is drawn and shaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

from tqdm import tqdm

from dentgen import storage
from dentgen.conditions.decode import MAX_KEY_BYTES, decode_record, valid_key
from dentgen.conditions.readers.raw import ConditionShard, RawRecord, printable
from dentgen.conditions.readers.source import index_shard, list_shards, read_records
from dentgen.errors import ConditionError, SpecError
from dentgen.parallel.processes import map_processes
from dentgen.phantom.prompt import LIGHT_WORD, SCAN_LIGHT_WORD
from dentgen.records import CONDITION_MEMBER, FDI_MEMBER, ConditionRecord
from dentgen.relight.shading import ClayLighting, draw_lightings, shadings
from dentgen.shards.tar import json_bytes, png_bytes, tar_bytes

PARAMETERS: Final = "relit.json"
MODEL: Final = "plain shading of normals and depth: no cast shadows, no light between surfaces"
_LIGHT: Final = f"{CONDITION_MEMBER['lighting']}.png"


@dataclass(frozen=True, slots=True)
class Relighting:
    """What decides relit shards beside their source: lighting maps per record, and the seed of their lights."""

    lightings: int
    seed: int


@dataclass(frozen=True, slots=True)
class RelitShard:
    """What became of one input shard.

    Attributes:
        records: Records of the input that were relit now; 0 if the output was there.
        problems: A line for every record that is not in the output, and for a shard that could not be read to its end.
    """

    records: int
    problems: tuple[str, ...]


def write_relit(source: str, out: str, relighting: Relighting, workers: int | None = None) -> list[RelitShard]:
    """Relight the shards of a source into ``out``, except those that are there already.

    Args:
        source: Anything that holds condition records.
        out: Folder or URL, outside of the source.
        relighting: Which lights.
        workers: Processes; None uses all cores.

    Raises:
        ConditionError: If nothing readable is in the source.
        SpecError: If ``out`` is in the source, or holds records relit with other parameters.
    """
    shards = list_shards(source)
    if storage.relative_name(source, storage.join(out, "a", "b")) != "b":
        raise SpecError(
            f"{out}: found the output inside the source, expected it elsewhere: it would be read as a source"
        )
    _claim(out, relighting)
    work = partial(_relight_shard, out, relighting)
    return list(tqdm(map_processes(work, shards, workers), total=len(shards), unit="shard", desc="relighting"))


def relit_key(key: str, number: int) -> str:
    """Key of a record under its ``number``-th light."""
    return f"{key}-l{number:02d}"


def _claim(out: str, relighting: Relighting) -> None:
    place, wanted = storage.join(out, PARAMETERS), asdict(relighting)
    if storage.put_if_absent(place, json_bytes(wanted)):
        return
    found = json.loads(storage.read_bytes(place))
    if found != wanted:
        raise SpecError(f"{place}: found {found}, expected {wanted}: choose another folder")


def _relight_shard(out: str, relighting: Relighting, shard: ConditionShard) -> RelitShard:
    url = storage.join(out, _shard_name(shard))
    if storage.exists(url):
        return RelitShard(0, tuple(_left_out(shard, url)))
    samples: list[tuple[str, dict[str, bytes]]] = []
    problems: list[str] = []
    try:
        for raw in read_records(shard):
            try:
                samples += _relit_samples(raw, shard, relighting)
            except ConditionError as error:
                problems.append(str(error))
    except ConditionError as damage:
        problems.append(str(damage))
    if samples:
        storage.put_if_absent(url, tar_bytes(samples))
    return RelitShard(len(samples) // relighting.lightings, tuple(problems))


def _shard_name(shard: ConditionShard) -> str:
    """A tar under the input's name, so that shards which join the source later rename nothing."""
    if shard.kind == "folder":
        return "folder.tar"
    return shard.name if shard.name.endswith(".tar") else f"{shard.name}.tar"


def _left_out(shard: ConditionShard, url: str) -> Iterator[str]:
    """What an output that was there lacks: an earlier run named it, and nobody may have read that."""
    (output,) = list_shards(url)
    index, made = index_shard(shard, with_metadata=False), set(index_shard(output, with_metadata=False).keys)
    for key in index.keys:
        if relit_key(key, 0) not in made:
            yield f"{shard.name}: {printable(key)}: not in {url}, which was there; remove that file to try again"
    if index.problem:
        yield index.problem


def _relit_samples(raw: RawRecord, shard: ConditionShard, relighting: Relighting) -> list[tuple[str, dict[str, bytes]]]:
    """Keys and members of a record under every light; the photo is left behind, because it shows another one."""
    record = decode_record(raw, ("normal",))
    if not valid_key(relit_key(record.key, 0)):
        raise ConditionError(raw.place, "a key that is too long to number", f"at most {MAX_KEY_BYTES - 4} bytes")
    lightings = draw_lightings(relighting.seed, record.key, relighting.lightings)
    normal, depth = record.conditions["normal"], record.conditions.get("depth")
    maps = _map_members(record)
    return [
        (relit_key(record.key, number), {**maps, _LIGHT: png_bytes(light), "json": _metadata(record, shard, lighting)})
        for number, (light, lighting) in enumerate(zip(shadings(normal, depth, lightings), lightings, strict=True))
    ]


def _map_members(record: ConditionRecord) -> dict[str, bytes]:
    """Encoded anew: files from elsewhere may carry more than pixels."""
    maps = {CONDITION_MEMBER[name]: array for name, array in record.conditions.items()}
    maps |= {} if record.fdi is None else {FDI_MEMBER: record.fdi}
    return {f"{member}.png": png_bytes(array) for member, array in maps.items()}


def _metadata(record: ConditionRecord, shard: ConditionShard, lighting: ClayLighting) -> bytes:
    metadata: Mapping[str, Any] = {
        **record.attributes,
        "group": record.group,
        "split": record.split,
        "prompt": _without_light(record.prompt, record.attributes.get("lighting", "")),
        "license": record.license,
        "lighting": "relit",
        "source": f"{record.key} of {shard.name}, lighting map by {MODEL}",
        "relight": asdict(lighting),
    }
    return json_bytes(metadata)


def _without_light(prompt: str, light: str) -> str:
    """The prompt with neutral words for the light that is gone: "ring flash" where the attribute was "ring"."""
    gone = {f"{light} {word}" for word in ("flash", "light", "lighting")} if light else set()
    gone |= {words[kind] for words in (LIGHT_WORD, SCAN_LIGHT_WORD) for kind in words if kind == light}
    return ", ".join("clinical lighting" if phrase in gone else phrase for phrase in prompt.split(", "))
