"""Running out of memory: a real refusal of the operating system, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

#: Leaves a process little more memory than it has, asks for far too many slots, and prints what it is told.
SCRIPT = """
import resource, sys
from pathlib import Path
from dentgen.errors import OutOfMemoryError
from dentgen.generation.engines import start_engine
from dentgen.generation.generator import load_generator
from dentgen.generation.memory import free_memory
from dentgen.pipeline.slot_probe import advised_slots, probe_slots
from tests.conftest import small_spec

def address_space():
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()

def leave(mebibytes):
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + mebibytes * 2**20,) * 2)

spec = small_spec(Path(sys.argv[1]), Path(sys.argv[2]), engine={"slots": 2048})
generator = load_generator(spec)
used = address_space()
leave(350)
try:
    start_engine(generator)
except OutOfMemoryError as error:
    print(error.found, error.expected.split()[-1])
free_memory()
print(address_space() - used)
leave(100)
rates = list(probe_slots(generator, 4096))
print([rate.slots for rate in rates if rate.rows_per_second], str(rates[-1]).strip(), advised_slots(rates))
"""


@pytest.mark.slow
def test_a_number_that_fits_is_named(small_source: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(small_source), str(tmp_path / "out")],
        capture_output=True, text=True, cwd=ROOT, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    print(done.stdout)  # noqa: T201 - shown where the test fails
    error, kept, probed = done.stdout.strip().splitlines()
    found, fits = (int(number) for number in error.split())
    assert found == 2048
    assert 1 < fits < 2048
    assert int(kept) < 220 * 2**20, f"{kept} bytes of what did not fit stand in the way of what does"
    assert "slots: do not fit into the device's memory" in probed
    assert probed.startswith("[1, 2")
