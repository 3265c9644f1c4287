"""Every name in the output tree of a build, relative to the build's folder or URL."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final

PLAN: Final = "plan"
SHARDS: Final = "shards"
LEDGER: Final = "ledger"
ORPHANS: Final = "orphans"
VERSIONS: Final = "versions"
TICKS: Final = "ticks"
#: What people said of pictures.
REVIEW: Final = "review"

SOURCE_INDEX: Final = f"{PLAN}/source.parquet"
LEASE: Final = "lease.json"
INDEX: Final = "index.json"
SAMPLES: Final = "samples.parquet"
CARD: Final = "README.md"
CROISSANT: Final = "croissant.json"
REPORT: Final = "report.html"
CONTACT_SHEET: Final = "contact_sheet.png"
CERTIFICATE: Final = "certificate.json"
CERTIFICATE_PAGE: Final = "certificate.html"
GATE_USEFULNESS: Final = "gate_usefulness.json"
SUCCESS: Final = "_SUCCESS"

#: A version's copies of its plan's head and units.
PLAN_COPY: Final = "plan.json"
UNITS_COPY: Final = "plan.units.parquet"
#: The commit records of the units that a version added, in one file.
LEDGER_COPY: Final = "ledger.parquet"
#: A version in brief; written last of its folder, it makes the version count.
SEAL: Final = "seal.json"
#: What each version keeps.
VERSIONED: Final = (INDEX, CARD, CROISSANT, PLAN_COPY, UNITS_COPY, LEDGER_COPY, SEAL)
#: Files at the top of a finished build; the lease is there while somebody builds or repairs.
TOP: Final = (
    LEASE, INDEX, SAMPLES, CARD, CROISSANT, REPORT, CONTACT_SHEET, CERTIFICATE, CERTIFICATE_PAGE, GATE_USEFULNESS,
    SUCCESS,
)  # fmt: skip

_OWN: Final = re.compile(
    rf"{PLAN}/(?P<plan>\d{{6,}})(\.json|\.units\.parquet|\.source\.parquet)|{PLAN}/source\.parquet"
    rf"|{SHARDS}/(?P<shard>\d{{6,}})\.tar|{LEDGER}/(?P<record>\d{{6,}})\.json"
    rf"|{ORPHANS}/(?P<orphan>\d{{6,}})-[0-9a-f]{{16}}\.tar"
    rf"|{VERSIONS}/(?P<version>\d+)/({'|'.join(map(re.escape, VERSIONED))})"
    rf"|{TICKS}/[0-9a-f]{{32}}\.json"
    rf"|{REVIEW}/[0-9a-f]{{16}}\.json"
    rf"|{'|'.join(map(re.escape, TOP))}"
    r"|\.dentgen-[0-9a-f]{12}"  # with which the storage tries whether a folder is fit for conditional writes
)


def plan_head(segment: int = 0) -> str:
    """JSON head of a plan segment."""
    return f"{PLAN}/{segment:06d}.json"


def plan_units(segment: int = 0) -> str:
    """Table of the units of a plan segment."""
    return f"{PLAN}/{segment:06d}.units.parquet"


def source_index(segment: int = 0) -> str:
    """Index of the condition shards that a plan segment was cut from."""
    return f"{PLAN}/{segment:06d}.source.parquet" if segment else SOURCE_INDEX


def segment_of(name: str) -> int | None:
    """Number of the plan segment whose head has this name in the folder of plans; None if it is no head."""
    found = re.fullmatch(r"(\d{6,})\.json", name, re.ASCII)
    return int(found[1]) if found else None


def tick(key: str) -> str:
    """Record of a completed tick; its key may be any text, so the file is named by its hash."""
    return f"{TICKS}/{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.json"


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


def review(sheet: str) -> str:
    """What somebody said of a check sheet, named by the sheet."""
    return f"{REVIEW}/{sheet}.json"


def is_review(name: str) -> bool:
    """Whether a file, relative to the build, has such a name."""
    return re.fullmatch(rf"{REVIEW}/[0-9a-f]{{16}}\.json", name) is not None


def is_own(name: str, units: int, segment: int) -> bool:
    """Whether dentgen itself gives this name to a file, committed or not, of a build.

    Args:
        name: Name of a file, relative to the build.
        units: Number of units of the build, retired ones included.
        segment: Its newest plan segment.
    """
    found = _OWN.fullmatch(name)
    if found is None:
        return False
    limits = {"plan": segment, "version": segment, "shard": units - 1, "record": units - 1, "orphan": units - 1}
    return all(found[group] is None or int(found[group]) <= limit for group, limit in limits.items())


def builds_among(urls: Iterable[str]) -> list[str]:
    """Folders among the files of a listing that are builds, finished or just begun, without those inside others.

    A build has a plan, or a file that stands before the plan and nothing beside it that is not named by dentgen: a
    record may be called ``lease``, and a folder ``plan``.
    """
    urls = set(urls)
    marks = tuple(f"/{name}" for name in (LEASE, SOURCE_INDEX, plan_units()))
    folders = sorted({url.removesuffix(mark) for mark in marks for url in urls if url.endswith(mark)})
    builds: list[str] = []
    for folder in folders:
        if not any(folder.startswith(f"{outer}/") for outer in builds) and _is_build(folder, urls):
            builds.append(folder)
    return builds


def _is_build(folder: str, urls: set[str]) -> bool:
    if {f"{folder}/{plan_head()}", f"{folder}/{plan_units()}"} <= urls:
        return True
    names = (url.removeprefix(f"{folder}/") for url in urls if url.startswith(f"{folder}/"))
    return all(_OWN.fullmatch(name) is not None or name.rpartition("/")[2].startswith(".") for name in names)
