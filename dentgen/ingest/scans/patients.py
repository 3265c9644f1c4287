"""Meshes of a folder by patient: two files whose names differ only by the jaw may be both jaws of one."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from dentgen import storage
from dentgen.errors import ConditionError
from dentgen.ingest.scans.mesh_file import MESH_ENDINGS
from dentgen.ingest.scans.scan_mesh import Jaw

_JAW_WORDS: Final[dict[str, Jaw]] = {"upper": "upper", "maxilla": "upper", "lower": "lower", "mandible": "lower"}
#: A jaw's word at a name's end, after a separator or as the whole name.
_JAW: Final = re.compile(rf"(?:[-_ .]|(?<![^/]))({'|'.join(_JAW_WORDS)})$", re.IGNORECASE)
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class ScanFile:
    """One mesh of a set: its name with folders and ending, and the places of mesh and labels."""

    name: str
    mesh: str
    labels: str | None

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return self.name.rpartition(".")[0]

    @property
    def jaw(self) -> Jaw | None:
        """Jaw that the name ends with, None if it names none."""
        found = _JAW.search(self.stem)
        return _JAW_WORDS[found[1].lower()] if found else None


@dataclass(frozen=True, slots=True)
class ScanFiles:
    """What becomes one scan: a file, or those of the upper and the lower jaw, in this order."""

    files: tuple[ScanFile, ...]

    @property
    def name(self) -> str:
        """The file's name, or what the names of both have in common."""
        first = self.files[0]
        return first.name if len(self.files) == 1 else _JAW.sub("", first.stem).rstrip("/") or "scan"

    @property
    def group(self) -> str:
        """Patient of a scan: the last part of its name without the word for the jaw.

        Where nothing is left, as of ``p1/upper.obj``, it is that of the folder above. Both jaws stay in one split, also
        where each jaw has a folder of its own.
        """
        parts = (_JAW.sub("", part) for part in reversed(self.files[0].stem.split("/")))
        return _UNFIT.sub("_", next(filter(None, parts), "scan"))

    @property
    def key(self) -> str:
        """Name of the shard without its ending: the scan's, and a digest, because other names may look the same."""
        digest = hashlib.sha256("\0".join(file.name for file in self.files).encode()).hexdigest()[:8]
        return f"scan-{_UNFIT.sub('_', self.name)[:40]}-{digest}"

    @property
    def shard(self) -> str:
        """Name of the scan's shard."""
        return f"{self.key}.tar"


def find_patients(source: str) -> list[ScanFiles]:
    """All meshes of a folder with the labels beside them; two jaws that may belong together are together.

    Raises:
        ConditionError: If there is no mesh.
        StorageError: If the folder cannot be listed.
    """
    patients: dict[tuple[str, str], list[ScanFile]] = {}
    for file in _find_files(source):
        found = _JAW.search(file.stem)
        key = (file.stem[: found.start(1)], file.name.rpartition(".")[2]) if found else (file.name, "")
        patients.setdefault(key, []).append(file)
    return [scan for files in patients.values() for scan in _paired(files)]


def _find_files(source: str) -> list[ScanFile]:
    urls = {storage.relative_name(source, file.url): file.url for file in storage.list_files(source)}
    files = []
    for name in sorted(urls):
        stem, _, ending = name.rpartition(".")
        if f".{ending.lower()}" in MESH_ENDINGS:
            files.append(ScanFile(name, urls[name], urls.get(f"{stem}.json")))
    if not files:
        raise ConditionError(storage.without_secrets(source), "no mesh", f"files ending {', '.join(MESH_ENDINGS)}")
    return files


def _paired(files: list[ScanFile]) -> list[ScanFiles]:
    """One pair, if there is just one file of each jaw; else every file for itself."""
    by_jaw = {file.jaw: file for file in files}
    if len(files) == 2 and by_jaw.keys() == {"upper", "lower"}:
        return [ScanFiles((by_jaw["upper"], by_jaw["lower"]))]
    return [ScanFiles((file,)) for file in files]
