"""Tables: Parquet with the pictures inside, as the Hugging Face viewer shows it, and CSV beside the pictures."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from dentgen import storage
from dentgen.conditions.labels import SEG_CLASSES
from dentgen.export.layout import Entries, Entry, entry_of, flat_name, put_picture, splits_of
from dentgen.export.source import ExportSample
from dentgen.records import ATTRIBUTES, ImageFormat
from dentgen.shards.tar import png_bytes

_IMAGE: Final = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_TEXTS: Final = ("key", "group", "split", "prompt", "license", *ATTRIBUTES)
_SCHEMA: Final = pa.schema([
    ("image", _IMAGE), ("seg", _IMAGE), ("fdi", _IMAGE), ("lesion", _IMAGE), *((name, pa.string()) for name in _TEXTS),
    ("teeth", pa.list_(pa.uint8())), ("synthetic", pa.bool_()),
])  # fmt: skip
#: First letters that make a spreadsheet calculate, with their full-width forms.
_FORMULA: Final = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
#: Rows between which a reader can begin, and about a hundred megabytes of pictures.
_ROW_GROUP: Final = 100


@dataclass(frozen=True, slots=True)
class ParquetFormat:
    """``data/SPLIT/UNIT.parquet``; ``datasets.load_dataset(FOLDER)`` reads it with pictures."""

    splits: frozenset[str] | None = None
    extension: ImageFormat | None = None

    def write(self, destination: str, unit: str, samples: Iterable[ExportSample]) -> list[Entry]:
        """Write one file for every split of the shard."""
        with tempfile.TemporaryDirectory() as folder:
            files = _SplitFiles(Path(folder))
            entries = [entry_of(sample, files.add(sample, unit)) for sample in samples]
            for split, file in files.closed().items():
                storage.overwrite_from(storage.join(destination, "data", split, f"{unit}.parquet"), file)
        return entries

    def finish(self, destination: str, entries: Entries) -> None:
        """Write a card whose header tells the viewer which files belong to which split."""
        files = [{"split": split, "path": f"data/{split}/*.parquet"} for split in splits_of(entries)]
        header = yaml.safe_dump({"configs": [{"config_name": "default", "data_files": files}]}, sort_keys=False)
        storage.overwrite(storage.join(destination, "README.md"), f"---\n{header}---\n".encode())


class _SplitFiles:
    """A Parquet file for every split, written as rows come."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._rows: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def add(self, sample: ExportSample, unit: str) -> str:
        """Add a row; returns the name of its file in the destination."""
        rows = self._rows[sample.split]
        rows.append(_row(sample))
        if len(rows) >= _ROW_GROUP:
            self._flush(sample.split)
        return f"{sample.split}/{unit}.parquet"

    def closed(self) -> dict[str, Path]:
        """The finished files by split."""
        for split in list(self._rows):
            self._flush(split)
        for writer in self._writers.values():
            writer.close()
        return {split: self._folder / split for split in self._writers}

    def _flush(self, split: str) -> None:
        rows = self._rows.pop(split, [])
        schema = _SCHEMA.with_metadata(_features())
        if split not in self._writers:
            self._writers[split] = pq.ParquetWriter(self._folder / split, schema, compression="zstd")
        if rows:
            self._writers[split].write_table(pa.Table.from_pylist(rows, schema))


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """``images/SPLIT/KEY.EXT``, ``masks/``, ``teeth/``, ``lesions/`` and one row a sample in ``samples.csv``."""

    splits: frozenset[str] | None = None
    extension: ImageFormat | None = None

    def write(self, destination: str, unit: str, samples: Iterable[ExportSample]) -> list[Entry]:
        """Write pictures, class maps and FDI maps."""
        return [self._entry(destination, sample) for sample in samples]

    def finish(self, destination: str, entries: Entries) -> None:
        """Write the table: files, metadata, share of every class, teeth."""
        buffer = io.StringIO()
        files = ("image", "mask", "teeth_map", "lesion_map")
        columns = [*files, *_TEXTS, "teeth", "synthetic", *map(_share, SEG_CLASSES.values())]
        table = csv.DictWriter(buffer, columns, lineterminator="\n")
        table.writeheader()
        for entry in entries():
            table.writerow(entry["row"])
        storage.overwrite(storage.join(destination, "samples.csv"), buffer.getvalue().encode())

    def _entry(self, destination: str, sample: ExportSample) -> Entry:
        split, name = sample.split, f"{flat_name(sample.key)}.png"
        for folder, values in (("masks", sample.seg), ("teeth", sample.fdi), ("lesions", sample.lesion)):
            if values is not None:
                storage.overwrite(storage.join(destination, folder, split, name), png_bytes(values))
        file = put_picture(destination, f"images/{split}", sample)
        shares = {_share(name): round(float((sample.seg == value).mean()), 6) for value, name in SEG_CLASSES.items()}
        row = {
            "image": f"images/{split}/{file}", "mask": f"masks/{split}/{name}", "teeth_map": f"teeth/{split}/{name}",
            "lesion_map": f"lesions/{split}/{name}" if sample.lesion is not None else "",
            **_texts(sample), "teeth": " ".join(map(str, _teeth(sample))), "synthetic": sample.synthetic, **shares,
        }  # fmt: skip
        return entry_of(sample, file, row={key: _plain(value) for key, value in row.items()})


def _row(sample: ExportSample) -> dict[str, Any]:
    name = flat_name(sample.key)
    return {
        "image": {"bytes": sample.picture, "path": f"{name}.{sample.extension}"},
        "seg": {"bytes": png_bytes(sample.seg), "path": f"{name}.seg.png"},
        "fdi": {"bytes": png_bytes(sample.fdi), "path": f"{name}.fdi.png"},
        "lesion": None if sample.lesion is None else {"bytes": png_bytes(sample.lesion), "path": f"{name}.lesion.png"},
        **_texts(sample), "teeth": _teeth(sample), "synthetic": sample.synthetic,
    }  # fmt: skip


def _texts(sample: ExportSample) -> dict[str, str]:
    texts = {name: sample.attributes.get(name, "") for name in ATTRIBUTES}
    own = {"key": sample.key, "group": sample.group, "split": sample.split, "prompt": sample.prompt}
    return {**own, "license": sample.license, **texts}


def _teeth(sample: ExportSample) -> list[int]:
    return [number for number in np.unique(sample.fdi).tolist() if number]


def _share(name: str) -> str:
    return f"share of {name}"


def _plain(value: Any) -> Any:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA else value


def _features() -> dict[bytes, bytes]:
    """What ``datasets`` needs to show pictures."""
    kinds: dict[str, Any] = {name: {"_type": "Image"} for name in ("image", "seg", "fdi", "lesion")}
    kinds |= {name: {"dtype": "string", "_type": "Value"} for name in _TEXTS}
    kinds["teeth"] = {"feature": {"dtype": "uint8", "_type": "Value"}, "_type": "List"}
    kinds["synthetic"] = {"dtype": "bool", "_type": "Value"}
    ordered = {name: kinds[name] for name in _SCHEMA.names}
    return {b"huggingface": json.dumps({"info": {"features": ordered}}).encode()}
