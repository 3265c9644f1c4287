"""An export from beginning to end: shards in parallel, then the files that describe the whole set.

A shard is done when its entries are stored, so an interrupted export goes on where it stopped.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from typing import Any, Final, Literal, get_args

from dentgen import storage
from dentgen.conditions.readers.twins import folded_name
from dentgen.errors import BuildError, ConditionError, SpecError
from dentgen.export.copies import copied, making
from dentgen.export.layout import Entry, ExportFormat, flat_name
from dentgen.export.marking import Marker
from dentgen.export.signing import Signer
from dentgen.export.source import ExportSample, ExportSource, ExportUnit, Rejection, open_source, read_unit
from dentgen.parallel.processes import map_processes
from dentgen.shards.parameters import claim_parameters
from dentgen.shards.tar import json_bytes
from dentgen.storage.overlap import require_apart

FormatName = Literal["coco", "yolo-segment", "yolo-detect", "yolo-semantic", "nnunet", "monai", "voc", "parquet", "csv"]
FORMATS: Final[tuple[FormatName, ...]] = get_args(FormatName)
#: Folder of the destination that holds the state of an export.
STATE: Final = ".dentgen-export"
_PARAMETERS: Final = "export.json"


@dataclass(frozen=True, slots=True)
class Export:
    """What is exported and how.

    Attributes:
        source: A finished build, or condition records with pictures: folder or URL.
        destination: Folder or URL.
        format: Layout.
        masks: Masks of ``coco``.
        teeth: Classes of the ``yolo`` layouts with instances.
        signer: Who signs the copies of the pictures; None leaves them as they are.
        marker: What puts a watermark into the copies of the pictures, before they are signed; None leaves them as they
            are.
        selection: File of chosen samples of the build; None exports all.
    """

    source: str
    destination: str
    format: FormatName
    masks: Literal["rle", "polygon"] = "rle"
    teeth: Literal["numbers", "one"] = "numbers"
    signer: Signer | None = None
    marker: Marker | None = None
    selection: str | None = None


@dataclass(frozen=True, slots=True)
class ExportOutcome:
    """What an export did.

    Attributes:
        written: Samples in the destination.
        splits: Samples of every split.
        rejected: Records and shards that could not be exported, with reasons; a shard is tried again by the next run.
        left_out: Samples that the build itself had rejected.
        shared_groups: Patients with samples in several splits.
        holes, split: Masks with holes, and in several parts, that the format cannot hold.
        ignored: Pixels without annotation that the format cannot tell from background.
        unnumbered: Pixels of teeth without a number, which have no instance in the format.
        mean_iou, worst_iou: Of the masks with what comes back from the format; 1 where it is exact.
    """

    written: int
    splits: Mapping[str, int]
    rejected: tuple[Rejection, ...]
    left_out: int
    shared_groups: int
    holes: int
    split: int
    ignored: int
    unnumbered: int
    mean_iou: float
    worst_iou: float


def export(task: Export, workers: int | None = None, progress: Any = iter) -> ExportOutcome:
    """Export all samples; shards whose entries are there already are not read again.

    Args:
        task: What and how.
        workers: Number of processes; None uses all cores.
        progress: Called with the iterator of finished shards; yields them on.

    Returns:
        Counts and losses of the whole export, what earlier runs wrote included.

    Raises:
        SpecError: If the destination holds something else, overlaps with the source, two keys share a file name, a
            library is not installed, what is asked for cannot be signed or marked, or the selection is of
            another index.
        ConditionError, BuildError: If the source is no set of samples.
        StorageError: If something cannot be read or written.
    """
    require_apart("destination", task.destination, "source", task.source)
    layout = _installed(task)
    source = open_source(task.source, task.selection)
    parameters = _parameters(task, source)
    state = storage.join(task.destination, STATE)
    _require_own(task.destination, state)
    claim_parameters(state, _PARAMETERS, parameters)
    present = set(storage.list_names(state))
    missing = [unit for unit in source.units if f"{unit.name}.json" not in present]
    done = map_processes(partial(_export_unit, task), missing, workers)
    with closing(done):
        failed = [failure for failure in progress(done) if failure is not None]
    units = [unit.name for unit in source.units if unit.name not in {failure.key for failure in failed}]
    _require_distinct_names(state, units)
    layout.finish(task.destination, partial(_entries, state, units))
    return _outcome(state, units, failed, source.rejected)


def format_of(task: Export) -> ExportFormat:
    """The layout that a task asks for; libraries of one format are not needed by another."""
    match task.format:
        case "coco":
            from dentgen.export.coco import CocoFormat

            return CocoFormat(task.masks)
        case "yolo-segment" | "yolo-detect":
            from dentgen.export.yolo import YoloFormat

            return YoloFormat("segment" if task.format == "yolo-segment" else "detect", task.teeth)
        case "parquet" | "csv":
            from dentgen.export.tables import CsvFormat, ParquetFormat

            return ParquetFormat() if task.format == "parquet" else CsvFormat()
        case _:
            return _semantic_format(task.format)


def _semantic_format(name: FormatName) -> ExportFormat:
    from dentgen.export.semantic import MonaiFormat, NnUnetFormat, VocFormat
    from dentgen.export.yolo_semantic import YoloSemanticFormat

    match name:
        case "nnunet":
            return NnUnetFormat()
        case "monai":
            return MonaiFormat()
        case "voc":
            return VocFormat()
        case _:
            return YoloSemanticFormat()


def _parameters(task: Export, source: ExportSource) -> dict[str, Any]:
    """What decides an export's files; options of other formats do not.

    Raises:
        SpecError: If the pictures are to be signed or marked and cannot be.
    """
    masks = {"masks": task.masks} if task.format == "coco" else {}
    teeth = {"teeth": task.teeth} if task.format in {"yolo-segment", "yolo-detect"} else {}
    made = making(source, task.destination, task.signer, task.marker)
    return {"format": task.format, **masks, **teeth, **made, "source_digest": source.digest}


def _installed(task: Export) -> ExportFormat:
    """The layout, once its libraries are there.

    Raises:
        SpecError: If one is not.
    """
    try:
        return format_of(task)
    except ImportError as error:
        expected = "its libraries: pip install 'dentgen[formats]'"
        raise SpecError(key=f"format {task.format}", found=str(error), expected=expected) from error


def _require_own(destination: str, state: str) -> None:
    """Require an empty destination, or one that an export began: foreign files would become samples.

    Raises:
        SpecError: If there is anything else.
    """
    storage.require_writable(destination)
    if not storage.list_names(state) and (names := storage.list_names(destination)):
        found = f"files such as {names[0]!r}"
        raise SpecError(file=storage.without_secrets(destination), found=found, expected="an empty or new folder")


def _export_unit(task: Export, unit: ExportUnit) -> Rejection | None:
    """Write one shard's samples and then its entries; a damaged shard is told, and has no entries."""
    rejected: list[dict[str, str]] = []
    layout = format_of(task)

    def accepted() -> Iterator[ExportSample]:
        for sample in read_unit(task.source, unit):
            copy = sample if isinstance(sample, Rejection) else copied(sample, layout, task.signer, task.marker)
            if isinstance(copy, Rejection):
                rejected.append(asdict(copy))
            else:
                yield copy

    try:
        entries = layout.write(task.destination, unit.name, accepted())
    except (ConditionError, BuildError) as error:
        return Rejection(unit.name, str(error))
    content = json_bytes({"entries": entries, "rejected": rejected})
    storage.overwrite(storage.join(task.destination, STATE, f"{unit.name}.json"), content)
    return None


def _state_of(state: str, unit: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(storage.read_bytes(storage.join(state, f"{unit}.json")))
    return content


def _entries(state: str, units: list[str]) -> Iterator[Entry]:
    return chain.from_iterable(_state_of(state, unit)["entries"] for unit in units)


def _require_distinct_names(state: str, units: list[str]) -> None:
    """Require that no two samples have the same file names, on any file system.

    Raises:
        SpecError: If two have.
    """
    seen: dict[str, str] = {}
    for entry in _entries(state, units):
        name = folded_name(flat_name(entry["key"]))
        if name in seen:
            found = f"keys {seen[name]!r} and {entry['key']!r}"
            raise SpecError(key="source", found=found, expected="keys that differ as file names")
        seen[name] = entry["key"]


def _outcome(state: str, units: list[str], failed: list[Rejection], left_out: int) -> ExportOutcome:
    """Add everything up."""
    counts, splits = Counter[str](), Counter[str]()
    total, worst = 0.0, 1.0
    rejected = [Rejection(**each) for unit in units for each in _state_of(state, unit)["rejected"]]
    groups: dict[str, str] = {}
    shared: set[str] = set()
    for entry in _entries(state, units):
        ious = entry["loss"]["ious"]
        counts.update({name: entry["loss"][name] for name in ("holes", "split", "ignored", "unnumbered")})
        counts.update(written=1, masks=len(ious))
        splits[entry["split"]] += 1
        total, worst = total + sum(ious), min([worst, *ious])
        if groups.setdefault(entry["group"], entry["split"]) != entry["split"]:
            shared.add(entry["group"])
    return ExportOutcome(
        written=counts["written"], splits=dict(sorted(splits.items())), rejected=(*failed, *rejected),
        left_out=left_out, shared_groups=len(shared),
        holes=counts["holes"], split=counts["split"], ignored=counts["ignored"], unnumbered=counts["unnumbered"],
        mean_iou=total / counts["masks"] if counts["masks"] else 1.0, worst_iou=worst,
    )  # fmt: skip
