"""Records that kill the process that reads them, by a fault planted into a copy of the package."""

from __future__ import annotations

import shutil
from pathlib import Path

from dentgen.conditions.readers.raw import ConditionShard
from dentgen.conditions.readers.source import index_shard, list_shards
from dentgen.documents.units import Unit
from dentgen.pipeline.units import cut_units
from dentgen.spec.build import BuildSpec
from tests.conftest import ROOT, small_spec

#: What the copy of the package does with a record that holds the marker.
DECODE = "    _check_key(raw)\n    _check_members(raw)\n"
KILLS = """    if any(b"POISON" in content for content in raw.members.values()):
        os.kill(os.getpid(), 9)
"""
PAGES = "    read = 0\n    try:\n        for batch in file.iter_batches(1, row_groups=[number]"
PAGES_KILL = "    if number == 1 and columns != [KEY_COLUMN]:\n        os.kill(os.getpid(), 11)\n"


def package_that_kills(folder: Path) -> Path:
    """A copy of the package whose decoder kills its process at a marker, and whose Parquet reader at a row group."""
    shutil.copytree(ROOT / "dentgen", folder / "dentgen", ignore=shutil.ignore_patterns("__pycache__"))
    for name, before, fault in (("decode.py", DECODE, KILLS), ("readers/parquet.py", PAGES, PAGES_KILL)):
        path = folder / "dentgen" / "conditions" / name
        text = path.read_text()
        assert text.count(before) == 1
        text = text.replace(before, fault + before)
        path.write_text(
            text.replace("from __future__ import annotations\n", "from __future__ import annotations\nimport os\n")
        )
    return folder


def poisoned(members: dict[str, bytes]) -> dict[str, bytes]:
    """A record that kills who decodes it, in that copy."""
    return {**members, "json": b'{"prompt": "POISON"}'}


def one_unit(source: Path, split: str | None = None) -> tuple[BuildSpec, Unit, ConditionShard]:
    """A source of one shard as one unit."""
    spec = small_spec(source, source / "out", source={"split": split}, pipeline={"samples_per_shard": 64})
    (shard,) = list_shards(str(source))
    (unit,) = cut_units([shard], [index_shard(shard, with_metadata=split is not None)], spec)
    return spec, unit, shard
