"""The certificate of a dataset: figures of what is there, the same bytes twice, and what a changed dataset breaks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dentgen.errors import StorageError
from dentgen.evaluation.certificate.write import (
    CertificateSettings,
    certify,
    differences,
    read_certificate,
    write_certificate,
)
from tests.conftest import problems
from tests.evaluation.certificate.finished import Members, finished_build

SETTINGS = CertificateSettings(pictures=16)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, demo_members: Members) -> Path:
    return finished_build(tmp_path_factory.mktemp("build"), demo_members)


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


def test_training_on_it_is_compared_with_training_on_the_reference(out: Path) -> None:
    settings = CertificateSettings(pictures=8, reference=str(out), steps=2, seeds=(0, 1))
    first, second = (certify(str(out), settings).sections["usefulness"] for _ in range(2))
    assert first == second
    assert first.figures["pictures_dataset"] == 6
    reference, test = first.figures["pictures_reference"], first.figures["pictures_test"]
    assert reference is not None
    assert test is not None
    assert reference + test == 6
    mious = [first.figures[name] for name in ("miou_dataset", "miou_reference")]
    assert all(value is not None and 0 <= value <= 1 for value in mious)
    assert first.figures["miou_ratio"] == pytest.approx(np.divide(*mious), abs=1e-3)  # type: ignore[arg-type]
    assert set(first.computed_from) == {"index", "reference"}
