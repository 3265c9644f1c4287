"""Reading tables: without threads that could abort the process at its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.conftest import ROOT

#: In a process of its own, where pyarrow has started no thread yet.
SCRIPT = """
import sys
from pathlib import Path
import psutil
from dentgen.shards.parquet import table_of
data, before = Path(sys.argv[1]).read_bytes(), psutil.Process().num_threads()
print(table_of(data, ["key"]).num_rows, psutil.Process().num_threads() - before)
"""


def test_reading_starts_no_thread(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    columns = {"key": [str(n) for n in range(80)], **{f"column {n}": list(range(80)) for n in range(20)}}
    pq.write_table(pa.table(columns), path)
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["80", "0"]
