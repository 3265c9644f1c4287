"""Reading tables: the process that did it ends as it should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.conftest import ROOT

#: Many processes that read and end at once; pyarrow's own threads abort about every third of them.
SCRIPT = """
import sys
from pathlib import Path
from dentgen.shards.parquet import table_of
print(table_of(Path(sys.argv[1]).read_bytes(), columns=["key"]).num_rows)
"""


def test_processes_that_read_a_table_end_in_peace(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(
        pa.table({"key": [str(n) for n in range(80)], **{f"c{n}": list(range(80)) for n in range(20)}}), path
    )
    command = [sys.executable, "-c", SCRIPT, str(path)]
    runs = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(8)]
    for run in runs:
        out, error = run.communicate(timeout=60)
        assert (run.returncode, out.strip()) == (0, b"80"), error
