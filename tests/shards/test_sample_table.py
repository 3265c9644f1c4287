"""Streaming samples.parquet: every row once, in batches, in memory that does not depend on the number of rows."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dentgen.errors import StorageError
from dentgen.shards import sample_table
from dentgen.shards.layout import SAMPLES
from dentgen.shards.sample_rows import SAMPLE_SCHEMA
from dentgen.shards.sample_table import column_names, distinct_pairs, rejected_reasons, stream_samples, value_counts
from tests.conftest import ROOT
from tests.report.fake_builds import fake_build, rejected, written


def write_samples(out: Path, columns: Mapping[str, Sequence[Any] | pa.Array], row_group_size: int = 10_000) -> None:
    """A table of samples with these columns, others empty."""
    rows = len(next(iter(columns.values())))
    arrays = [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(rows, f.type) for f in SAMPLE_SCHEMA]
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays, schema=SAMPLE_SCHEMA), out / SAMPLES, row_group_size=row_group_size)


def test_every_row_is_streamed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_table, "BATCH_ROWS", 7)
    keys = [f"k{n}" for n in range(40)]
    status = ["rejected" if n % 5 == 0 else "written" for n in range(40)]
    write_samples(tmp_path, {"key": keys, "status": status}, row_group_size=10)
    batches = list(stream_samples(str(tmp_path), ["key"]))
    assert max(batch.written.num_rows + batch.rejected.num_rows for batch in batches) <= 7
    assert [key for batch in batches for key in batch.written["key"].to_pylist()] == [k for k in keys if int(k[1:]) % 5]
    assert sum(batch.rejected.num_rows for batch in batches) == 8


def test_reasons_of_rejected_samples_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_table, "BATCH_ROWS", 4)
    write_samples(tmp_path, {"status": ["rejected"] * 9 + ["written"], "reason": ["a", "b", None] * 3 + ["c"]})
    total = Counter[str]()
    for reason, count in rejected_reasons(str(tmp_path)):
        total[reason] += count
    assert total == {"a": 3, "b": 3, "": 3}


def test_damaged_table_is_named(tmp_path: Path) -> None:
    fake_build(tmp_path, [written(0), rejected(1, "no map")])
    table = tmp_path / SAMPLES
    table.write_bytes(table.read_bytes()[:-20])
    with pytest.raises(StorageError) as caught:
        list(stream_samples(str(tmp_path), ["key"]))
    assert caught.value.file == str(table)


def test_columns_of_a_table_are_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"status": ["written"], "key": ["k"]}), tmp_path / SAMPLES)
    assert column_names(str(tmp_path)) == {"status", "key"}
    (tmp_path / SAMPLES).write_bytes(b"torn")
    with pytest.raises(StorageError) as caught:
        column_names(str(tmp_path))
    assert caught.value.file == str(tmp_path / SAMPLES)


def test_missing_column_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"status": ["written"], "key": ["k"]}), tmp_path / SAMPLES)
    with pytest.raises(StorageError) as caught:
        list(stream_samples(str(tmp_path), ["key", "teeth"]))
    assert (caught.value.file, "teeth" in caught.value.expected) == (str(tmp_path / SAMPLES), True)


def test_counts_equal_those_of_a_plain_loop() -> None:
    texts = ("a", "b", "", None)
    first, second = ([texts[n] for n in np.random.default_rng(seed).integers(0, 4, 200)] for seed in range(2))
    assert value_counts(pa.array(first)) == Counter(first)
    plain = sorted({(a or "", b or "") for a, b in zip(first, second, strict=True)})
    assert distinct_pairs(pa.array(first), pa.array(second)) == plain


PEAK = """
import re, sys
from pathlib import Path
from dentgen.report.card.sample_summary import summarise
from dentgen.report.html.counts import _COLUMNS, _Counts
from dentgen.shards.sample_table import stream_samples

summary, counts = summarise(sys.argv[1]), _Counts()
for batch in stream_samples(sys.argv[1], _COLUMNS):
    counts.add(batch)
print(summary.records, summary.groups, summary.divided_groups, summary.prompts, summary.prompts_exact)
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def summary_and_peak(out: Path, rows: int) -> tuple[str, int]:
    """Counts over a table in which each sample has its own patient and prompt, and the process's peak memory in MiB."""
    unique = pa.array([f"{number:060d}" for number in range(rows)])
    columns = {
        "status": pa.repeat("written", rows),
        "source_key": unique,
        "group": unique,
        "prompt": unique,
        "split": pa.array(np.where(np.arange(rows) % 10, "train", "test")),
        "shard": pa.repeat("000000.tar", rows),
    }
    write_samples(out, columns)
    run = subprocess.run([sys.executable, "-c", PEAK, str(out)], capture_output=True, text=True, check=True, cwd=ROOT)
    summary, kilobytes = run.stdout.splitlines()
    return summary, int(kilobytes) // 1024


@pytest.mark.slow
def test_memory_does_not_grow_with_the_samples(tmp_path: Path) -> None:
    _, small = summary_and_peak(tmp_path / "small", 300_000)
    summary, large = summary_and_peak(tmp_path / "large", 1_000_000)
    assert summary == "1000000 1000000 0 200000 False"
    assert large - small < 60, f"{small} and {large} MiB"
