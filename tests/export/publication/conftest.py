"""A hub on loopback and a finished build to publish on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, constants

from dentgen.export.publication.hub import HubRepository
from dentgen.report.card.write import write_description
from dentgen.shards.certificate import Certificate, CertificateSection
from dentgen.shards.index import mark_success
from dentgen.shards.index_reader import index_sha256, read_index
from tests.export.publication.hub_server import Hub, running_hub
from tests.report.fake_builds import fake_build, noise, written

ADDRESS = "hf://clinic/teeth"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with running_hub() as hub:
        yield hub


@pytest.fixture
def repository(hub: Hub) -> HubRepository:
    return HubRepository.of(ADDRESS, HfApi(endpoint=hub.endpoint, token="hf_secret"))


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A finished build of four shards, and files beside it that are nobody's business."""
    return finished(tmp_path / "build", 4)


def finished(out: Path, shards: int, **sections: Mapping[str, Any]) -> Path:
    plan = fake_build(out, [written(number) for number in range(shards)], (), noise, **sections)
    write_description(str(out), plan, read_index(str(out)))
    mark_success(str(out))
    (out / "shards" / "999999.tar").write_bytes(b"an orphan")
    (out / "notes.txt").write_text("patients' names")
    return out


def certificate(out: Path) -> Certificate:
    """A certificate of the build's version, with a figure and a section without any."""
    index = read_index(str(out))
    return Certificate(
        dentgen="2", version=index.version, index_sha256=index_sha256(str(out)), samples_sha256=index.samples_sha256,
        samples=index.written, spec_digest=index.spec_digest, bundle_digest=index.bundle_digest,
        sections={
            "agreement": CertificateSection(
                figures={"pictures": 8.0, "miou_mean": 0.9312, "sharpness_mean": 1.0}, command="dentgen certify OUT"
            ),
            "memorisation": CertificateSection(missing="no pictures were named"),
        },
    )  # fmt: skip
