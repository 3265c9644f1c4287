"""The certificate of a dataset: figures of what is there, the same bytes twice, and what a changed dataset breaks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dentgen.errors import StorageError
from dentgen.evaluation.certificate.write import (
    CertificateSettings,
    certify,
    differences,
    write_certificate,
)
from dentgen.shards.certificate import read_certificate
from tests.conftest import problems
from tests.evaluation.certificate.finished import Members, finished_build

SETTINGS = CertificateSettings(pictures=16)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, demo_members: Members) -> Path:
    return finished_build(tmp_path_factory.mktemp("build"), demo_members)


@pytest.mark.integration
def test_a_second_run_gives_the_same_bytes_and_the_dataset_stays_sound(out: Path) -> None:
    written = []
    for _ in range(2):
        places = write_certificate(str(out), certify(str(out), SETTINGS))
        written.append([Path(place).read_bytes() for place in places])
    assert written[0] == written[1]
    assert problems(out) == []
    assert differences(read_certificate(str(out)), certify(str(out), SETTINGS)) == []
    page = (out / "certificate.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert "Do pictures show what their labels say?" in page


@pytest.mark.slow
def test_a_figure_that_was_changed_is_found(out: Path) -> None:
    write_certificate(str(out), certify(str(out), SETTINGS))
    content = json.loads((out / "certificate.json").read_text())
    content["sections"]["agreement"]["figures"]["miou_mean"] = 0.9999
    content["index_sha256"] = "other"
    (out / "certificate.json").write_text(json.dumps(content))
    found = differences(read_certificate(str(out)), certify(str(out), SETTINGS))
    assert [line.split(":")[0] for line in found] == ["index_sha256", "agreement.miou_mean"]


def test_a_damaged_certificate_is_named(out: Path) -> None:
    (out / "certificate.json").write_text("{}")
    with pytest.raises(StorageError) as caught:
        read_certificate(str(out))
    assert str(caught.value.file).endswith("certificate.json")
