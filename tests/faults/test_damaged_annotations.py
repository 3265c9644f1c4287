"""Damaged annotation sets: every photograph becomes a valid record or is refused by name; nothing crashes or hangs."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from dentgen.conditions.decode import decode_record
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.errors import DentgenError
from dentgen.ingest.photos.formats import PHOTO_FORMATS, PhotoFormat
from dentgen.ingest.photos.meaning import Meanings
from dentgen.ingest.photos.run import PhotoSet, write_photos
from tests.ingest.photos.annotated_sets import MEANINGS, WRITERS

MEANT = Meanings(labels=MEANINGS)
#: What damages text most: brackets, numbers that are none, letters that end texts.
PIECES = [b"", b"{", b"]", b'"', b"1e999", b"NaN", b"-", b"null", b"\x00", b"\xff", b"9" * 30, b"[[[[", b"<!ENTITY"]


def damaged(content: bytes, rng: random.Random) -> bytes:
    """A file with some bytes replaced, cut off, repeated, or left out."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[at : at + rng.randint(0, 6)] = rng.choice(PIECES)
            case 1:
                data = data[:at]
            case 2 if data:
                data[min(at, len(data) - 1)] = rng.randrange(256)
            case _:
                data[at:at] = data[at : at + rng.randint(1, 200)]
    return bytes(data)


def try_damage(folder: Path, name: PhotoFormat, seed: int) -> tuple[int, int]:
    """Convert a damaged copy of a set; returns the numbers of records and refusals."""
    rng, copy, out = random.Random(seed), folder / "copy", folder / "out"
    shutil.copytree(folder / name, copy)
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    notes = [path for path in files if path.suffix != ".png"] if rng.random() < 0.8 else files
    chosen = rng.choice(notes)
    chosen.write_bytes(damaged(chosen.read_bytes(), rng))
    try:
        outcome = write_photos(PhotoSet(str(copy), str(out), MEANT, name))
    except DentgenError:
        return 0, 1
    finally:
        shutil.rmtree(copy)
    for shard in list_shards(str(out)) if outcome.written else []:
        for raw in read_records(shard):
            record = decode_record(raw, ("segmentation", "lighting"))
            assert set(np.unique(record.conditions["segmentation"])) <= {1, 2, 255}
    shutil.rmtree(out)
    return outcome.written, len(outcome.refused)


def check(folder: Path, count: int) -> None:
    formats = [name for name in PHOTO_FORMATS if name in WRITERS]
    for name in formats:
        WRITERS[name](folder / name)
    written = refused = 0
    for seed in range(count):
        records, refusals = try_damage(folder, formats[seed % len(formats)], seed)
        written, refused = written + records, refused + refusals
    assert written > 0
    assert refused > count / 4


@pytest.mark.slow
def test_sixty_damaged_sets(tmp_path: Path) -> None:
    check(tmp_path, 60)


@pytest.mark.long
def test_five_thousand_damaged_sets(tmp_path: Path) -> None:
    check(tmp_path, 5000)
