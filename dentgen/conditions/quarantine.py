"""Records that kill the process that reads them: found in child processes, where nothing else is lost.

A decoder that breaks off, or the system's reply to a lack of memory, leaves no exception behind. So a child names each
record before it touches it. The one named last by a child that died is read again, alone; if that kills as well, it is
what killed. This takes two children a record that kills, where halving takes one for every halving. Refuses to know who
died before, and what is made of the others.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dentgen import storage
from dentgen.conditions.readers.raw import ConditionShard, RawRecord, printable
from dentgen.conditions.unit_records import check_records
from dentgen.documents import Document, Unit
from dentgen.errors import BuildError, ConditionError, DentgenError
from dentgen.spec.build import BuildSpec

_LOG = logging.getLogger(__name__)
#: A child that is not done by then is killed; no record may hold up a build for ever.
_MOST_SECONDS: Final = 900
_MOST_COMPLAINT: Final = 300


class _Task(Document):
    """What a child is to read."""

    spec: BuildSpec
    unit: Unit
    shard: ConditionShard
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class _Reading:
    """How a child ended: whole, or by what, with the record that it named last; None if it named none."""

    whole: bool
    ended_by: str
    position: int
    key: str | None


def find_crashing_records(spec: BuildSpec, unit: Unit, shard: ConditionShard) -> dict[int, RawRecord]:
    """Records of a unit that kill a process which does nothing but read them.

    Args:
        spec: How records are read.
        unit: Which records.
        shard: Where they are.

    Returns:
        By position: the record's key, where it could be read, without members, and what is wrong with it.

    Raises:
        BuildError: If a child could not read for another reason, as a storage that does not answer; or if nothing tells
            whether a record that kills belongs to the build.
    """
    found: dict[int, RawRecord] = {}
    start = unit.start
    while start < unit.stop and not unit.problem:
        reading = _read(_Task(spec=spec, unit=unit, shard=shard, start=start, stop=unit.stop))
        if reading.whole:
            break
        suspect = reading.position
        alone = _read(_Task(spec=spec, unit=unit, shard=shard, start=suspect, stop=suspect + 1))
        if not alone.whole:
            found[suspect] = _deadly(shard, alone)
            if alone.key is None and unit.records < unit.stop - unit.start:
                raise BuildError(f"unit {unit.name}: {found[suspect].problem}; its split cannot be known")
            _LOG.warning("unit %s: %s", unit.name, found[suspect].problem)
        start = suspect + 1
    return found


def _deadly(shard: ConditionShard, reading: _Reading) -> RawRecord:
    name = printable(reading.key or "") or f"record {reading.position}"
    place = f"{storage.name_of(shard.url)}: {name}"
    found = f"bytes that killed the process that read them ({reading.ended_by})"
    return RawRecord(reading.key or "", place, problem=ConditionError(place, found, "a record that can be read"))


def _read(task: _Task) -> _Reading:
    """Let a child read a range.

    Raises:
        BuildError: If the child says that it cannot.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.Popen(  # noqa: S603 - this very module
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True,
        errors="replace",
    )  # fmt: skip
    ended_by = ""
    try:
        said, complaint = child.communicate(task.model_dump_json(), timeout=_MOST_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        said, complaint = child.communicate()
        ended_by = f"no end after {_MOST_SECONDS} s"
    lines: list[dict[str, Any]] = [json.loads(line) for line in said.splitlines()]
    if lines and "error" in lines[-1]:
        raise BuildError(f"unit {task.unit.name}: its records cannot be read one by one: {lines[-1]['error']}")
    named = [line for line in lines if "position" in line]
    last: dict[str, Any] = named[-1] if named else {"position": task.start, "key": None}
    whole = bool(lines) and "whole" in lines[-1]
    return _Reading(whole, ended_by or _ending(child.returncode, complaint), last["position"], last["key"])


def _ending(returncode: int, complaint: str) -> str:
    if returncode < 0:
        return f"signal {-returncode}"
    last = complaint.strip().splitlines()[-1:]
    return printable(": ".join([f"exit code {returncode}", *last])[:_MOST_COMPLAINT])


def main() -> None:
    """The child: read what standard input says, name every record first."""
    with suppress(OSError):
        # where memory runs out, the system is to end this process and none that does real work
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    task = _Task.model_validate_json(sys.stdin.read())
    try:
        check_records(task.spec, task.unit, task.shard, (task.start, task.stop), _name)
    except DentgenError as error:
        _say({"error": str(error)})
    else:
        _say({"whole": True})


def _name(position: int, key: str) -> None:
    _say({"position": position, "key": key})


def _say(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
