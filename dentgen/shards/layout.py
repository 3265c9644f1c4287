"""Every name in the output tree of a build, relative to the build's folder or URL."""

from __future__ import annotations

import re
from typing import Final

PLAN: Final = "plan"
SHARDS: Final = "shards"
LEDGER: Final = "ledger"
ORPHANS: Final = "orphans"
VERSIONS: Final = "versions"

SOURCE_INDEX: Final = f"{PLAN}/source.parquet"
LEASE: Final = "lease.json"
INDEX: Final = "index.json"
SAMPLES: Final = "samples.parquet"
CARD: Final = "README.md"
CROISSANT: Final = "croissant.json"
REPORT: Final = "report.html"
CONTACT_SHEET: Final = "contact_sheet.png"
SUCCESS: Final = "_SUCCESS"

#: What each version keeps a copy of.
VERSIONED: Final = (INDEX, CARD, CROISSANT)
#: Files at the top of a finished build; the lease is there while somebody builds or repairs.
TOP: Final = (LEASE, INDEX, SAMPLES, CARD, CROISSANT, REPORT, CONTACT_SHEET, SUCCESS)

_OWN: Final = re.compile(
    rf"{PLAN}/(\d{{6,}}\.json|\d{{6,}}\.units\.parquet|source\.parquet)"
    rf"|{SHARDS}/\d{{6,}}\.tar|{LEDGER}/\d{{6,}}\.json|{ORPHANS}/\d{{6,}}-[0-9a-f]{{16}}\.tar"
    rf"|{VERSIONS}/\d+/({'|'.join(map(re.escape, VERSIONED))})"
    rf"|{'|'.join(map(re.escape, TOP))}"
)


def plan_head(segment: int = 0) -> str:
    """JSON head of a plan segment."""
    return f"{PLAN}/{segment:06d}.json"


def plan_units(segment: int = 0) -> str:
    """Table of the units of a plan segment."""
    return f"{PLAN}/{segment:06d}.units.parquet"


def shard_file(unit: str) -> str:
    """File name of a unit's shard, as the index and the ledger list it."""
    return f"{unit}.tar"


def shard(unit: str) -> str:
    """Shard of a unit."""
    return f"{SHARDS}/{shard_file(unit)}"


def ledger(unit: str) -> str:
    """Commit record of a unit."""
    return f"{LEDGER}/{unit}.json"


def orphan(unit: str, sha256: str) -> str:
    """Where an uncommitted shard is set aside when another attempt gave other bytes."""
    return f"{ORPHANS}/{unit}-{sha256[:16]}.tar"


def versioned(version: int | str, name: str) -> str:
    """A version's own copy of a file."""
    return f"{VERSIONS}/{version}/{name}"


def is_own(name: str) -> bool:
    """Whether dentgen itself gives this name to a file of a build, committed or not."""
    return _OWN.fullmatch(name) is not None
