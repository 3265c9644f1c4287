"""An export from beginning to end: shards in parallel, then the files that describe the whole set.

A shard is done when its entries are stored, so an interrupted export goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from typing import Any, Final, Literal, get_args

from dentgen import storage
from dentgen.errors import SpecError
from dentgen.export.layout import Entry, ExportFormat, flat_name
from dentgen.export.source import ExportSample, ExportUnit, Rejection, open_source, read_unit
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
    """

    source: str
    destination: str
    format: FormatName
    masks: Literal["rle", "polygon"] = "rle"
    teeth: Literal["numbers", "one"] = "numbers"


@dataclass(frozen=True, slots=True)
class ExportOutcome:
    """What an export did.

    Attributes:
        written: Samples in the destination.
        rejected: Records that could not be exported, with reasons.
        holes, split: Masks with holes, and in several parts, that the format cannot hold.
        ignored: Pixels without annotation that the format cannot tell from background.
        mean_iou, worst_iou: Of the masks with what comes back from the format; 1 where it is exact.
    """

    written: int
    rejected: tuple[Rejection, ...]
    holes: int
    split: int
    ignored: int
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
        SpecError: If the destination holds another export, overlaps with the source, or two keys share a file name.
        ConditionError, BuildError: If the source is no set of samples, or damaged.
        StorageError: If something cannot be read or written.
    """
    require_apart("destination", task.destination, "source", task.source)
    storage.require_writable(task.destination)
    source = open_source(task.source)
    state = storage.join(task.destination, STATE)
    claim_parameters(state, _PARAMETERS, _parameters(task, source.digest))
    present = set(storage.list_names(state))
    missing = [unit for unit in source.units if f"{unit.name}.json" not in present]
    done = map_processes(partial(_export_unit, task), missing, workers)
    with closing(done):
        for _ in progress(done):
            pass
    units = [unit.name for unit in source.units]
    _require_distinct_names(state, units)
    format_of(task).finish(task.destination, partial(_entries, state, units))
    return _outcome(state, units)


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


def _parameters(task: Export, digest: str) -> dict[str, Any]:
    own = {name: value for name, value in asdict(task).items() if name not in {"source", "destination"}}
    return {**own, "source_digest": digest}


def _export_unit(task: Export, unit: ExportUnit) -> str:
    """Write one shard's samples and then its entries."""
    rejected: list[dict[str, str]] = []

    def accepted() -> Iterator[ExportSample]:
        for sample in read_unit(task.source, unit):
            if isinstance(sample, Rejection):
                rejected.append(asdict(sample))
            else:
                yield sample

    entries = format_of(task).write(task.destination, unit.name, accepted())
    content = json_bytes({"entries": entries, "rejected": rejected})
    storage.overwrite(storage.join(task.destination, STATE, f"{unit.name}.json"), content)
    return unit.name


def _state_of(state: str, unit: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(storage.read_bytes(storage.join(state, f"{unit}.json")))
    return content


def _entries(state: str, units: list[str]) -> Iterator[Entry]:
    return chain.from_iterable(_state_of(state, unit)["entries"] for unit in units)


def _require_distinct_names(state: str, units: list[str]) -> None:
    seen: dict[str, str] = {}
    for entry in _entries(state, units):
        key, name = entry["key"], flat_name(entry["key"]).casefold()
        if seen.setdefault(name, key) != key:
            found = f"keys {seen[name]!r} and {key!r}"
            raise SpecError(key="source", found=found, expected="keys that differ as file names")


def _outcome(state: str, units: list[str]) -> ExportOutcome:
    written = holes = split = ignored = count = 0
    total, worst = 0.0, 1.0
    rejected: list[Rejection] = []
    for unit in units:
        content = _state_of(state, unit)
        rejected += [Rejection(**each) for each in content["rejected"]]
        for entry in content["entries"]:
            loss = entry["loss"]
            written += 1
            holes, split, ignored = holes + loss["holes"], split + loss["split"], ignored + loss["ignored"]
            count, total = count + len(loss["ious"]), total + sum(loss["ious"])
            worst = min([worst, *loss["ious"]])
    return ExportOutcome(written, tuple(rejected), holes, split, ignored, total / count if count else 1.0, worst)
