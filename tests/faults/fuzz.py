"""Run seeds in a process of their own, with limits: ``python -m tests.faults.fuzz FIRST [COUNT]``.

The inputs of a seed have a few seconds and a gigabyte. Whatever breaks a law, crashes, hangs or takes more is a finding
that its seed reproduces.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parent.parent.parent
#: Of processor time, which does not depend on load; a process that waits is ended after HANG_SECONDS instead.
SECONDS = 5
HANG_SECONDS = 120
MEMORY_BYTES = 2**30


@dataclass(frozen=True)
class Finding:
    """A seed and what went wrong."""

    seed: int
    text: str

    def __str__(self) -> str:
        """The command that reproduces it, and what went wrong."""
        return f"seed {self.seed}: python -m tests.faults.fuzz {self.seed}\n{self.text}"


class SlowInputError(BaseException):
    """The inputs of a seed took too long; a BaseException, so that no handler swallows it."""


def find(first: int, count: int) -> tuple[int, list[Finding], dict[str, int]]:
    """Run seeds in worker processes; one that dies is replaced.

    Returns:
        Number of inputs, findings, and inputs by kind and outcome with the peak memory of a process, kB.
    """
    inputs, findings, seed, stop = 0, [], first, first + count
    outcomes: Counter[str] = Counter()
    while seed < stop:
        # C code of a library cannot be interrupted, but it ends with its process
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
        run = subprocess.run(
            [sys.executable, "-m", "tests.faults.fuzz", str(seed), str(stop - seed)],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        lines = run.stdout.splitlines()
        tried = [line.split(maxsplit=3) for line in lines if line.startswith("tried ")]
        for words in tried:
            found = json.loads(words[3])
            peak = max(outcomes.pop("peak kB", 0), found.pop("peak kB"))
            outcomes.update({**found, "peak kB": peak})
        inputs += sum(int(words[2]) for words in tried)
        seed = int(tried[-1][1]) + 1 if tried else seed
        if run.returncode:
            findings.append(Finding(seed, run.stderr[-3000:] or f"the process ended with {run.returncode}"))
            seed += 1
    return inputs, findings, dict(sorted(outcomes.items()))


def main(first: int, count: int) -> None:
    """Run seeds in this process, a line for each; the first finding ends it."""
    from tests.faults.cases import name_of_case, run_seed
    from tests.faults.laws import OUTCOMES

    logging.disable(logging.CRITICAL)
    _limit_memory()
    signal.signal(signal.SIGPROF, _too_slow)
    for seed in range(first, first + count):
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            inputs = run_seed(seed)
        except BaseException:  # noqa: BLE001 - the seed must be printed
            signal.setitimer(signal.ITIMER_PROF, 0)
            traceback.print_exc()
            print(f"seed {seed}: {name_of_case(seed)}", file=sys.stderr)  # noqa: T201
            sys.exit(1)
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
        outcomes = {**OUTCOMES, "peak kB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
        print("tried", seed, inputs, json.dumps(outcomes), flush=True)  # noqa: T201
        OUTCOMES.clear()


def _limit_memory() -> None:
    """Allow a gigabyte beyond the imports."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _too_slow(_: int, frame: FrameType | None) -> None:
    raise SlowInputError(f"took more than {SECONDS} s")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
