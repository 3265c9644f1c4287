"""Storage tests run on a disk and on S3."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dentgen import storage
from tests.s3_faults import FaultProxy, fault_proxy


@pytest.fixture(params=["disk", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "disk":
        return str(tmp_path)
    url: str = request.getfixturevalue("s3_root")
    return storage.join(url, request.node.name.replace("[", "-").replace("]", ""))


@pytest.fixture
def flaky_s3(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """The S3 endpoint behind a proxy that fails as told."""
    import s3fs

    with fault_proxy(os.environ["AWS_ENDPOINT_URL"]) as proxy:
        host, port = proxy.server_address[:2]
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host!s}:{port}")
        s3fs.S3FileSystem.clear_instance_cache()
        yield proxy
    s3fs.S3FileSystem.clear_instance_cache()
