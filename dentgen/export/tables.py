"""Tables: Parquet with the pictures inside, as the Hugging Face viewer shows it, and CSV beside the pictures."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dentgen import storage
from dentgen.conditions.labels import SEG_CLASSES
from dentgen.export.layout import Entries, Entry, entry_of, flat_name, put_picture, split_of, splits_of
from dentgen.export.source import ExportSample
from dentgen.records import ATTRIBUTES
from dentgen.shards.tar import png_bytes

_IMAGE: Final = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_TEXTS: Final = ("key", "group", "split", "prompt", "license", *ATTRIBUTES)
_SCHEMA: Final = pa.schema([
    ("image", _IMAGE), ("seg", _IMAGE), ("fdi", _IMAGE), *((name, pa.string()) for name in _TEXTS),
    ("teeth", pa.list_(pa.uint8())), ("synthetic", pa.bool_()),
])  # fmt: skip
#: Rows between which a reader can begin, and about a hundred megabytes of pictures.
_ROW_GROUP: Final = 100


@dataclass(frozen=True, slots=True)
class ParquetFormat:
    """``data/SPLIT-UNIT.parquet``; ``datasets.load_dataset(FOLDER)`` reads it with pictures."""

    def write(self, destination: str, unit: str, samples: Iterable[ExportSample]) -> list[Entry]:
        """Write one file for every split of the shard."""
        rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        entries = []
        for sample in samples:
            file = f"{split_of(sample)}-{unit}.parquet"
            rows[file].append(_row(sample))
            entries.append(entry_of(sample, file))
        for file, of_split in rows.items():
            buffer = io.BytesIO()
            table = pa.Table.from_pylist(of_split, _SCHEMA.with_metadata(_features()))
            pq.write_table(table, buffer, row_group_size=_ROW_GROUP, compression="zstd")
            storage.overwrite(storage.join(destination, "data", file), buffer.getvalue())
        return entries

    def finish(self, destination: str, entries: Entries) -> None:
        """Write a card whose header tells the viewer which files belong to which split."""
        files = "".join(
            f"      - split: {split}\n        path: data/{split}-*.parquet\n" for split in splits_of(entries)
        )
        card = f"---\nconfigs:\n  - config_name: default\n    data_files:\n{files}---\n"
        storage.overwrite(storage.join(destination, "README.md"), card.encode())


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """``images/SPLIT/KEY.EXT``, ``masks/``, ``teeth/`` and one row a sample in ``samples.csv``."""

    def write(self, destination: str, unit: str, samples: Iterable[ExportSample]) -> list[Entry]:
        """Write pictures, class maps and FDI maps."""
        return [self._entry(destination, sample) for sample in samples]

    def finish(self, destination: str, entries: Entries) -> None:
        """Write the table: files, metadata, share of every class, teeth."""
        buffer = io.StringIO()
        columns = ["image", "mask", "teeth_map", *_TEXTS, "teeth", "synthetic", *map(_share, SEG_CLASSES.values())]
        table = csv.DictWriter(buffer, columns, lineterminator="\n")
        table.writeheader()
        for entry in entries():
            table.writerow(entry["row"])
        storage.overwrite(storage.join(destination, "samples.csv"), buffer.getvalue().encode())

    def _entry(self, destination: str, sample: ExportSample) -> Entry:
        split, name = split_of(sample), f"{flat_name(sample.key)}.png"
        for folder, values in (("masks", sample.seg), ("teeth", sample.fdi)):
            storage.overwrite(storage.join(destination, folder, split, name), png_bytes(values))
        file = put_picture(destination, f"images/{split}", sample)
        shares = {_share(name): round(float((sample.seg == value).mean()), 6) for value, name in SEG_CLASSES.items()}
        row = {
            "image": f"images/{split}/{file}", "mask": f"masks/{split}/{name}", "teeth_map": f"teeth/{split}/{name}",
            **_texts(sample), "teeth": " ".join(map(str, _teeth(sample))), "synthetic": sample.synthetic, **shares,
        }  # fmt: skip
        return entry_of(sample, file, row={key: _plain(value) for key, value in row.items()})


def _row(sample: ExportSample) -> dict[str, Any]:
    name = flat_name(sample.key)
    return {
        "image": {"bytes": sample.picture, "path": f"{name}.{sample.extension}"},
        "seg": {"bytes": png_bytes(sample.seg), "path": f"{name}.seg.png"},
        "fdi": {"bytes": png_bytes(sample.fdi), "path": f"{name}.fdi.png"},
        **_texts(sample), "teeth": _teeth(sample), "synthetic": sample.synthetic,
    }  # fmt: skip


def _texts(sample: ExportSample) -> dict[str, str]:
    texts = {name: sample.attributes.get(name, "") for name in ATTRIBUTES}
    own = {"key": sample.key, "group": sample.group, "split": split_of(sample), "prompt": sample.prompt}
    return {**own, "license": sample.license, **texts}


def _teeth(sample: ExportSample) -> list[int]:
    return [number for number in np.unique(sample.fdi).tolist() if number]


def _share(name: str) -> str:
    return f"share of {name}"


def _plain(value: Any) -> Any:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value


def _features() -> dict[bytes, bytes]:
    """What ``datasets`` needs to show pictures."""
    kinds: dict[str, Any] = {name: {"_type": "Image"} for name in ("image", "seg", "fdi")}
    kinds |= {name: {"dtype": "string", "_type": "Value"} for name in _TEXTS}
    kinds["teeth"] = {"feature": {"dtype": "uint8", "_type": "Value"}, "_type": "List"}
    kinds["synthetic"] = {"dtype": "bool", "_type": "Value"}
    ordered = {name: kinds[name] for name in _SCHEMA.names}
    return {b"huggingface": json.dumps({"info": {"features": ordered}}).encode()}
