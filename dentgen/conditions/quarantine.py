"""Search for records that crash the process that reads them, in child processes.

A segfaulting decoder or the kernel's OOM killer leaves no exception behind, so a child reports each record before it
reads it. The last record reported by a child that died is read again alone; if that child dies too, the record is
quarantined. This takes two children for each crashing record, fewer than a binary search.
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
from dentgen.documents.document import Document
from dentgen.documents.units import Unit
from dentgen.errors import BuildError, ConditionError, DentgenError
from dentgen.spec.build import BuildSpec

_LOG = logging.getLogger(__name__)
#: A child that takes longer is killed, so that no record can block a build forever.
_TIMEOUT_S: Final = 900
_MAX_STDERR_CHARS: Final = 300


class _Task(Document):
    """Range of records for a child to read, sent as JSON on its standard input."""

    spec: BuildSpec
    unit: Unit
    shard: ConditionShard
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How a child ended, and the record that it reported last; a key of None means that it reported none."""

    completed: bool
    cause: str
    position: int
    key: str | None


def find_crashing_records(spec: BuildSpec, unit: Unit, shard: ConditionShard) -> dict[int, RawRecord]:
    """Find the records of a unit that crash a process that only reads them.

    Args:
        spec: Spec of the build.
        unit: The unit.
        shard: The unit's condition shard.

    Returns:
        Crashing records by position, without members, each with its problem and, if it could be read, its key.

    Raises:
        BuildError: If a child fails for another reason, such as unreachable storage, or if a record crashes before its
            split is known.
    """
    found: dict[int, RawRecord] = {}
    start = unit.start
    while start < unit.stop and not unit.problem:
        outcome = _read(_Task(spec=spec, unit=unit, shard=shard, start=start, stop=unit.stop))
        if outcome.completed:
            break
        suspect = outcome.position
        alone = _read(_Task(spec=spec, unit=unit, shard=shard, start=suspect, stop=suspect + 1))
        if not alone.completed:
            found[suspect] = _crashing_record(shard, alone)
            if alone.key is None and unit.records < unit.stop - unit.start:
                raise _unknown_split(unit, found[suspect])
            _LOG.warning(
                "unit %s: quarantined %s", unit.name, found[suspect].problem, extra={"key": found[suspect].key}
            )
        start = suspect + 1
    return found


def _crashing_record(shard: ConditionShard, outcome: _Outcome) -> RawRecord:
    name = printable(outcome.key or "") or f"record {outcome.position}"
    place = f"{storage.name_of(shard.url)}: {name}"
    found = f"data that crashed the process reading it ({outcome.cause})"
    return RawRecord(outcome.key or "", place, problem=ConditionError(place, found, "a readable record"))


def _unknown_split(unit: Unit, record: RawRecord) -> BuildError:
    """Error for a crash before the split is known: the record can be neither rejected nor left to another split."""
    return BuildError(
        "cannot tell whether the record belongs to source.split",
        file=record.place,
        key=f"unit {unit.name}",
        found=record.problem.found if record.problem else "",
        expected="readable metadata",
        advice="remove or repair the record",
    )


def _read(task: _Task) -> _Outcome:
    """Read a range of records in a child process.

    Raises:
        BuildError: If the child reports an error instead of crashing.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.Popen(  # noqa: S603 - runs this module
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True,
        errors="replace",
    )  # fmt: skip
    cause = ""
    try:
        stdout, stderr = child.communicate(task.model_dump_json(), timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        stdout, stderr = child.communicate()
        cause = f"no result after {_TIMEOUT_S} s"
    lines: list[dict[str, Any]] = [json.loads(line) for line in stdout.splitlines()]
    if lines and "error" in lines[-1]:
        message = f"cannot read its records one by one: {lines[-1]['error']}"
        raise BuildError(message, file=task.shard.place, key=f"unit {task.unit.name}")
    reported = [line for line in lines if "position" in line]
    last: dict[str, Any] = reported[-1] if reported else {"position": task.start, "key": None}
    completed = bool(lines) and "completed" in lines[-1]
    return _Outcome(completed, cause or _exit_cause(child.returncode, stderr), last["position"], last["key"])


def _exit_cause(returncode: int, stderr: str) -> str:
    if returncode < 0:
        return f"signal {-returncode}"
    last_line = stderr.strip().splitlines()[-1:]
    return printable(": ".join([f"exit code {returncode}", *last_line])[:_MAX_STDERR_CHARS])


def main() -> None:
    """Entry point of the child: read the records of the task on standard input, reporting each one first."""
    with suppress(OSError):
        # if memory runs out, the kernel should kill this process rather than one that does real work
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    task = _Task.model_validate_json(sys.stdin.read())
    try:
        check_records(task.spec, task.unit, task.shard, (task.start, task.stop), _report_record)
    except DentgenError as error:
        _write_line({"error": str(error)})
    else:
        _write_line({"completed": True})


def _report_record(position: int, key: str) -> None:
    _write_line({"position": position, "key": key})


def _write_line(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
