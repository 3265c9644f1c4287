"""The child keeps its limits, imports nothing of dentgen's, and refuses what its library reads in part."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dentgen.ingest.scans.native_reader import UnreadableError, read_dcm
from tests.conftest import ROOT
from tests.ingest.scans.native_samples import dcm

MODULE = "dentgen.ingest.scans.native_reader"


def child(code: str) -> subprocess.CompletedProcess[str]:
    text = f"import json, sys\nfrom {MODULE} import limit\n{code}"
    return subprocess.run([sys.executable, "-c", text], check=False, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.integration
def test_time_and_memory_are_limited() -> None:
    assert child("limit(1, 2**32)\nwhile True: pass").returncode in {-signal.SIGXCPU, -signal.SIGKILL}
    grown = child("limit(60, 2**30)\nbytearray(2 * 2**30)")
    assert grown.returncode == 1
    assert "MemoryError" in grown.stderr


def test_nothing_else_of_dentgen_is_imported() -> None:
    done = child("print(json.dumps(sorted(name for name in sys.modules if name.startswith('dentgen'))))")
    assert json.loads(done.stdout) == ["dentgen", "dentgen.ingest", "dentgen.ingest.scans", MODULE]


def test_fewer_triangles_than_the_file_declares_are_no_mesh(tmp_path: Path) -> None:
    corners = np.arange(18.0).reshape(6, 3)
    path = tmp_path / "a.dcm"
    path.write_bytes(dcm(corners, np.array([[0, 1, 2], [3, 4, 5]])))
    arrays = read_dcm(str(path))
    assert arrays["vertices"].tolist() == corners.tolist()
    assert arrays["faces"].tolist() == [[0, 1, 2], [3, 4, 5]]
    path.write_bytes(path.read_bytes().replace(b'facet_count="2"', b'facet_count="3"'))
    with pytest.raises(UnreadableError, match="'facet': 2"):
        read_dcm(str(path))
