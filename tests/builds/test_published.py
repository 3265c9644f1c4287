"""What a user publishes names neither a folder, a host nor a user of the machine that it was made on."""

from __future__ import annotations

import getpass
import platform
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dentgen.models.bundle import find_bundle
from dentgen.pipeline.run import build
from tests.conftest import small_spec, write_tar


def texts(out: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of a build, as it is and, of compressed tables, what they say."""
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        yield str(path.relative_to(out)), path.read_bytes()
        if path.suffix == ".parquet":
            yield str(path.relative_to(out)), str(pq.read_table(path).to_pylist()).encode()


@pytest.mark.integration
def test_no_place_and_no_host_is_in_any_file_of_a_build(
    tmp_path: Path, demo_members: dict[str, dict[str, bytes]]
) -> None:
    home = tmp_path / "telltale"
    key = min(demo_members)
    write_tar(home / "conditions" / "a.tar", {key: demo_members[key], "torn": {"seg.png": b"torn"}})
    (home / "models").mkdir()
    (home / "models" / "own").symlink_to(find_bundle("miniature"))
    spec = small_spec(
        home / "conditions", home / "out", model={"bundle": str(home / "models" / "own")}, sampling={"steps": 1}
    )
    assert build(spec, use_ray=False).index.written == 2
    words = [word for word in ("telltale", platform.node(), getpass.getuser()) if len(word) > 4]
    found = {(name, word) for name, text in texts(home / "out") for word in words if word.encode() in text}
    assert found == set()
