"""Relit copies of condition shards: every record several times, each with a lighting map from another lighting.

Each input shard becomes one output tar whose bytes depend on the arguments and the input alone, written only if absent,
so an interrupted run resumes where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Final

from dentgen import storage
from dentgen.conditions.decode import MAX_KEY_BYTES, decode_record, valid_key
from dentgen.conditions.metadata import names_frame, read_metadata
from dentgen.conditions.motion import motion_levels
from dentgen.conditions.painted import painted_bits, painted_entries
from dentgen.conditions.readers.raw import ConditionShard, RawRecord, printable
from dentgen.conditions.readers.source import index_shard, list_shards, read_records
from dentgen.errors import ConditionError
from dentgen.parallel.processes import map_processes
from dentgen.phantom.prompt import replace_light_words
from dentgen.progress import tracked
from dentgen.records import CONDITION_MEMBER, FDI_MEMBER, MOTION_MEMBERS, PAINTED_MEMBER, ConditionRecord, Frame
from dentgen.relight.shading import RELIT, ClayLighting, draw_lightings, draw_swing, shadings
from dentgen.shards.parameters import claim_parameters
from dentgen.shards.tar import json_bytes, png_bytes, tar_bytes
from dentgen.storage.overlap import require_apart

PARAMETERS: Final = "relit.json"
MODEL: Final = "plain shading of normals and depth: no cast shadows, no light between surfaces"
_LIGHT: Final = f"{CONDITION_MEMBER['lighting']}.png"


@dataclass(frozen=True, slots=True)
class Relighting:
    """Parameters of a relit set.

    Attributes:
        lightings: Lighting maps per record.
        seed: Seed of the lightings.
        swing: Whether they are the frames of a lamp's way, and the record becomes a series.
    """

    lightings: int
    seed: int
    swing: bool = False

    @property
    def parameters(self) -> dict[str, int]:
        """What the parameters file says: ``swing`` only where it is, so that older sets stay valid."""
        return {"lightings": self.lightings, "seed": self.seed, **({"swing": 1} if self.swing else {})}

    def key(self, key: str, number: int) -> str:
        """Key of a record under lighting ``number``, counted from 0."""
        return f"{key}-f{number:03d}" if self.swing else relit_key(key, number)

    def draw(self, record: ConditionRecord) -> list[ClayLighting]:
        """Lightings of a record; all frames of a series have the same ones."""
        name = record.key if record.frame is None else record.frame.series
        return (
            draw_swing(self.seed, name, self.lightings)
            if self.swing
            else draw_lightings(self.seed, name, self.lightings)
        )

    def frame(self, record: ConditionRecord, number: int) -> Frame | None:
        """Place of a record under lighting ``number`` in a series: of lights, or of the record's own series relit."""
        if self.swing:
            return Frame(record.key, number)
        return None if record.frame is None else replace(record.frame, series=relit_key(record.frame.series, number))


@dataclass(frozen=True, slots=True)
class RelitShard:
    """Outcome of relighting one input shard.

    Attributes:
        records: Input records relit by this run; 0 if the output already existed.
        problems: One line per record that is missing from the output, and one if the input could not be read to its
            end. Later runs report the same problems again.
    """

    records: int
    problems: tuple[str, ...]


def write_relit(source: str, out: str, relighting: Relighting, workers: int | None = None) -> list[RelitShard]:
    """Relight the shards of a source into ``out``, skipping those that already exist.

    Records that cannot be relit (no normal map, damaged, key too long) are left out and reported.

    Args:
        source: Folder or URL of condition records: shards, Parquet or plain files.
        out: Folder or URL outside the source.
        relighting: Parameters of the set.
        workers: Number of processes; None uses all cores.

    Returns:
        The outcome of each input shard, in order.

    Raises:
        StorageError: If the source is empty or cannot be listed.
        ConditionError: If the source holds no condition records.
        SpecError: If ``out`` and the source overlap, or ``out`` holds records relit with other parameters.
    """
    out = storage.absolute(out)  # names that are appended to it must not be taken for parts of a URL
    require_apart("OUT", out, "SOURCE", source)  # a later run would read its own output as input
    shards = list_shards(source)
    storage.require_writable(out)
    claim_parameters(out, PARAMETERS, relighting.parameters)
    work = partial(_relight_shard, out, relighting)
    with closing(map_processes(work, shards, workers)) as done:  # ends the processes whatever ends the loop
        return list(tracked(done, "relighting", "shard", len(shards)))


def relit_key(key: str, number: int) -> str:
    """Key of a record under lighting ``number``, counted from 0."""
    return f"{key}-l{number:02d}"


def _relight_shard(out: str, relighting: Relighting, shard: ConditionShard) -> RelitShard:
    url = storage.join(out, output_name(shard))
    if storage.exists(url):
        return RelitShard(0, tuple(_missing_records(shard, url, relighting)))
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


def output_name(shard: ConditionShard) -> str:
    """Name an output tar after its input, so that shards added to the source later rename nothing."""
    if shard.kind == "folder":
        return "folder.tar"
    return shard.name if shard.name.endswith(".tar") else f"{shard.name}.tar"


def _missing_records(shard: ConditionShard, url: str, relighting: Relighting) -> Iterator[str]:
    """Report what an existing output lacks: the run that wrote it may have gone unread."""
    (output,) = list_shards(url)
    index, relit = index_shard(shard, with_metadata=False), set(index_shard(output, with_metadata=False).keys)
    for key in index.keys:
        if relighting.key(key, 0) not in relit:
            yield f"{shard.name}: {printable(key)}: not in {url}, written by an earlier run; delete that file to retry"
    if index.problem:
        yield index.problem


def _relit_samples(raw: RawRecord, shard: ConditionShard, relighting: Relighting) -> list[tuple[str, dict[str, bytes]]]:
    """Keys and members of a record under every lighting, without the photo, which shows the old one."""
    record = _decoded(raw)
    if relighting.swing and record.frame is not None:
        raise ConditionError(raw.place, f"a frame of {record.frame.series}", "a record of no series, to become one")
    if not valid_key(first := relighting.key(record.key, 0)):
        longest = MAX_KEY_BYTES - len(first) + len(record.key)
        raise ConditionError(raw.place, "a key that is too long for a lighting suffix", f"at most {longest} bytes")
    lightings = relighting.draw(record)
    normal, depth = record.conditions["normal"], record.conditions.get("depth")
    maps = map_members(record)
    return [
        (
            relighting.key(record.key, number),
            {
                **maps,
                _LIGHT: png_bytes(light),
                "json": relit_metadata(record, shard.name, lighting, relighting.frame(record, number)),
            },
        )
        for number, (light, lighting) in enumerate(zip(shadings(normal, depth, lightings), lightings, strict=True))
    ]


def _decoded(raw: RawRecord) -> ConditionRecord:
    """A record with its place in a series, if it names one; a series or frame alone is another program's."""
    if raw.problem is not None:
        raise raw.problem
    metadata = read_metadata(raw.place, raw.members.get("json"))
    return decode_record(
        raw, ("normal",), with_painted=True, with_motion=True, with_frame=names_frame(metadata), metadata=metadata
    )


def map_members(record: ConditionRecord) -> dict[str, bytes]:
    """Members of a record's maps, encoded anew: files from elsewhere may carry more than pixels (EXIF, comments)."""
    maps = {CONDITION_MEMBER[name]: array for name, array in record.conditions.items()}
    maps |= {} if record.fdi is None else {FDI_MEMBER: record.fdi}
    maps |= {PAINTED_MEMBER: painted_bits(record.painted, record.shape)} if record.painted else {}
    maps |= {} if record.motion is None else dict(zip(MOTION_MEMBERS, motion_levels(record.motion), strict=True))
    return {f"{member}.png": png_bytes(array) for member, array in maps.items()}


def relit_metadata(record: ConditionRecord, shard: str, lighting: ClayLighting, frame: Frame | None = None) -> bytes:
    """Metadata of a record under another light.

    Args:
        record: The record as it was.
        shard: Name of its shard.
        lighting: The light.
        frame: Place of the relit record in a series; None for none.
    """
    metadata: Mapping[str, Any] = {
        **record.attributes,
        "group": record.group,
        "split": record.split,
        "prompt": replace_light_words(record.prompt, record.attributes.get("lighting", "")),
        "license": record.license,
        "lighting": RELIT,
        "source": f"{record.key} of {shard}, lighting map by {MODEL}",
        "relight": asdict(lighting),
        **({} if frame is None else {"series": frame.series, "frame": frame.number}),
    }
    if record.painted:
        painted = [entry.model_dump(mode="json") for entry in painted_entries(record.painted)]
        metadata = {**metadata, "painted": painted}
    return json_bytes(metadata)
