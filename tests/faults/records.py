"""Condition records and the files that carry them: valid ones, and careless or hostile ones."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.faults.damage import with_checksum
from tests.faults.pictures import map_pixels, map_png, strange_png

Members = dict[str, bytes]
MAPS = ("seg", "light", "fdi", "normal", "depth", "curvature")
_SPLITS = ("train", "validation", "")
#: Keys, most of them invalid.
KEYS = (
    "a/b", "../../etc/passwd", "/abs", "with space", "ключ", "x" * 79, "x" * 300, "k" * 20000, "tab\there",
    "line\nbreak", "back\\slash", "a..b", "", ".hidden", "./dot", "a/../b", "\u202eevil", "nul\0key", "CON", "a/.b",
    "\udcff", "-v000",
)  # fmt: skip


def metadata(rng: np.random.Generator) -> bytes:
    """A record's ``KEY.json``."""
    fields: dict[str, Any] = {
        "group": f"jaw-{rng.integers(9)}",
        "split": str(rng.choice(_SPLITS)),
        "prompt": "teeth, frontal view",
        "view": "left",
        "patient": {"name": "never to be copied", "age": 7},
    }
    return json.dumps({name: value for name, value in fields.items() if rng.random() < 0.8}).encode()


def record(rng: np.random.Generator) -> Members:
    """Members of a valid record, of one size."""
    side = (int(rng.integers(1, 40)), int(rng.integers(1, 40)))
    kept = [name for name in MAPS if name == "seg" or rng.random() < 0.3]
    members = {f"{name}.png": map_png(rng, map_pixels(rng, name, side)) for name in kept}
    if rng.random() < 0.2:
        members["photo.png"] = map_png(rng, map_pixels(rng, "photo", side))
    if rng.random() < 0.8:
        members["json"] = metadata(rng)
    return members


def records(rng: np.random.Generator, *, wrong: bool) -> list[tuple[str, Members]]:
    """One to six records; with ``wrong``, some have invalid keys, members or maps."""
    found = [(f"r{number}", record(rng)) for number in range(int(rng.integers(1, 7)))]
    if not wrong:
        return found
    for number, (key, members) in enumerate(found):
        match int(rng.integers(8)):
            case 0:
                found[number] = (str(rng.choice(np.array(KEYS, object))), members)
            case 1:
                found[number] = (found[0][0], members)
            case 2:
                members["seg.png"] = strange_png(rng, (9, 7))
            case 3:
                members[str(rng.choice(["SEG.PNG", "Seg.png", "notes.txt", "", "seg.jpg", "seg.png.png"]))] = b"x"
            case 4:
                members["json"] = bytes(
                    rng.choice(np.array([b"", b"[]", b"{", b'{"split": 1}', b"\xff", b"null"], object))
                )
            case 5:
                found[number] = (key, {"seg.png": map_png(rng, map_pixels(rng, "seg", (8, 8))), **members})
            case _:
                pass
    return found


def tar_of(rng: np.random.Generator, content: list[tuple[str, Members]], *, wrong: bool) -> bytes:
    """A tar in one of three dialects; with ``wrong``, with links, devices, folders and odd headers as well."""
    dialect = int(rng.choice([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    buffer = io.BytesIO()
    common = _pax(rng) if wrong and rng.random() < 0.1 else {}
    with tarfile.open(
        fileobj=buffer, mode="w", format=dialect, errors="surrogateescape", pax_headers=common
    ) as archive:
        for key, members in content:
            for extension, data in members.items():
                name = f"{key}.{extension}" if extension else key
                info = tarfile.TarInfo("a/" * 60 + name if wrong and rng.random() < 0.05 else name)
                info.size = len(data)
                if dialect == tarfile.PAX_FORMAT and rng.random() < 0.1:
                    info.pax_headers = _pax(rng)
                try:
                    archive.addfile(info, io.BytesIO(data))
                except ValueError:
                    continue  # a name that USTAR cannot hold
                if wrong and rng.random() < 0.1:
                    archive.addfile(_strange_member(rng, name))
    data = buffer.getvalue()
    return _with_sparse(rng, data) if wrong and rng.random() < 0.1 else data


def _pax(rng: np.random.Generator) -> dict[str, str]:
    choice = (
        {"comment": "c" * 900},
        {"mtime": "nan"},
        {"size": "77"},
        {"GNU.sparse.size": "99"},
        {"path": "elsewhere.seg.png"},
    )
    return choice[int(rng.integers(len(choice)))]


def _strange_member(rng: np.random.Generator, name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name[:60] + str(rng.choice(["", ".light.png", "2.seg.png"])))
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
    info.type = kinds[int(rng.integers(len(kinds)))]
    info.linkname = str(rng.choice(["/etc/passwd", "../../up", "r0.seg.png", name[:60]]))
    return info


def _with_sparse(rng: np.random.Generator, data: bytes) -> bytes:
    """Prepend a GNU sparse file: 512 bytes stored, many more claimed."""
    info = tarfile.TarInfo("sparse.seg.png")
    info.size, info.type = 512, tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    claimed = int(rng.choice([512, 1024, 2**20, 2**33 - 1]))
    header[386:410] = b"%011o\0%011o\0" % (0, 512)
    header[483:495] = b"%011o\0" % claimed
    return with_checksum(bytes(header)) + b"s" * 512 + data


def parquet_of(rng: np.random.Generator, content: list[tuple[str, Members]], *, wrong: bool) -> bytes:
    """A Parquet file of records, with random options of the writer."""
    names = sorted({name for _, members in content for name in members if name})
    columns = {name: pa.array([members.get(name) for _, members in content], pa.binary()) for name in names}
    keys = [key.encode("utf-8", "surrogateescape") for key, _ in content]
    text = not any(b"\xff" in key for key in keys) and rng.random() < 0.5
    table = pa.table(
        {"__key__": pa.array([k.decode() for k in keys] if text else keys), **columns, "note": [1] * len(keys)}
    )
    if wrong:
        table = _strange_table(rng, table)
    buffer = io.BytesIO()
    pq.write_table(
        table,
        buffer,
        row_group_size=int(rng.integers(1, 5)),
        compression=str(rng.choice(["none", "snappy", "zstd", "gzip"])),
        use_dictionary=bool(rng.random() < 0.5),
        data_page_version=str(rng.choice(["1.0", "2.0"])),
        store_schema=bool(rng.random() < 0.5),
    )
    return buffer.getvalue()


def _strange_table(rng: np.random.Generator, table: pa.Table) -> pa.Table:
    count = table.num_rows
    kind = (pa.string(), pa.large_binary(), pa.list_(pa.int8()), pa.int64(), pa.dictionary(pa.int8(), pa.string()))
    match int(rng.integers(7)):
        case 6 if "json" not in table.column_names:
            return table.append_column("json", pa.array([None] * count, kind[int(rng.integers(len(kind)))]))
        case 0:
            return table.drop_columns(["__key__"])
        case 1:
            return table.set_column(0, "__key__", pa.array([None] * count, pa.string()))
        case 2:
            return table.set_column(0, "__key__", pa.array(list(range(count))))
        case 3:
            return (
                table.append_column("depth.png", pa.array([[1]] * count))
                if "depth.png" not in table.column_names
                else table
            )
        case 4:
            return table.slice(0, 0)
        case _:
            return table.append_column("JSON", pa.array(["{}"] * count))


def folder_of(rng: np.random.Generator, folder: Path, content: list[tuple[str, Members]], *, wrong: bool) -> None:
    """Loose files; with ``wrong``, now and then a link that leads nowhere."""
    for key, members in content:
        for extension, data in members.items():
            path = folder / f"{key.replace(chr(0), '').lstrip('/').replace('..', 'up')[:120]}.{extension}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    if wrong and rng.random() < 0.3:
        (folder / "loop.seg.png").symlink_to(str(rng.choice(["loop.seg.png", ".", "/nowhere"])))
