"""Which builds may be published."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from dentgen import storage
from dentgen.errors import BuildError, StorageError
from dentgen.export.publication.release import published_croissant, read_release, reasons_against
from dentgen.shards.plan_file import read_plan
from tests.export.publication.conftest import finished
from tests.report.fake_builds import fake_build, rejected, with_spec


def test_a_build_that_is_not_finished_is_refused(build: Path) -> None:
    (build / "_SUCCESS").unlink()
    with pytest.raises(BuildError) as caught:
        read_release(str(build))
    assert caught.value.found == "no _SUCCESS"


@pytest.mark.parametrize("name", ["README.md", "croissant.json", "samples.parquet", "plan/000000.units.parquet"])
def test_a_missing_file_is_named(build: Path, name: str) -> None:
    (build / name).unlink()
    with pytest.raises((BuildError, StorageError)) as caught:
        read_release(str(build))
    assert caught.value.file.endswith(name)


def test_a_table_of_samples_that_was_not_sealed_is_refused(build: Path) -> None:
    with (build / "samples.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BuildError) as caught:
        read_release(str(build))
    assert caught.value.file.endswith("samples.parquet")


def test_a_certificate_of_another_version_is_not_published(build: Path) -> None:
    own = {"index_sha256": storage.sha256_of(str(build / "index.json"))}
    for content, published in ((own, True), ({"index_sha256": "other"}, False), ([], False)):
        (build / "certificate.json").write_text(json.dumps(content))
        (build / "certificate.html").write_text("")
        documents = read_release(str(build)).documents
        assert [name in documents for name in ("certificate.json", "certificate.html")] == [published] * 2


def test_a_build_without_samples_is_refused(tmp_path: Path) -> None:
    fake_build(tmp_path, [rejected(0, "x")])
    (tmp_path / "_SUCCESS").touch()
    with pytest.raises(BuildError) as caught:
        read_release(str(tmp_path))
    assert caught.value.found == "no sample"


def test_pictures_from_photographs_need_consent(build: Path) -> None:
    plan = read_release(str(build)).plan
    (reason,) = reasons_against(str(build), with_spec(plan, sampling={"start_from": "photo"}), allow_photographs=False)
    assert reason.key == "sampling.start_from"
    assert list(reasons_against(str(build), plan, allow_photographs=False)) == []


def test_samples_tell_of_photographs_whatever_the_plan_says(tmp_path: Path) -> None:
    """The table of samples is sealed by its hash; a plan could be edited."""
    build = finished(tmp_path, 1, sampling={"start_from": "photo", "strength": 0.5})
    plan = with_spec(read_plan(str(build)), sampling={"start_from": "noise"})
    assert len(list(reasons_against(str(build), plan, allow_photographs=False))) == 1
    assert list(reasons_against(str(build), plan, allow_photographs=True)) == []


@pytest.mark.parametrize("name", ["README.md", "croissant.json", "plan/000000.json"])
def test_what_was_changed_after_sealing_is_refused(build: Path, name: str) -> None:
    text = (build / name).read_text()
    (build / name).write_text(text.replace('"seed": 0', '"seed": 1') if name.startswith("plan") else f"{text} ")
    with pytest.raises(BuildError) as caught:
        read_release(str(build))
    assert caught.value.file.endswith(name)


def test_names_that_every_sample_tells_are_shown(build: Path) -> None:
    release = read_release(str(build))
    assert release.names == ("patient-0", "patient-1", "jaw-000", "jaw-001", "jaw-002")
    assert release.restrictions == ()


def test_croissant_on_publication() -> None:
    content = published_croissant(b'{"name": "x"}', "https://hub/datasets/clinic/teeth", "clinic", date(2026, 5, 4))
    assert json.loads(content) == {
        "name": "x", "url": "https://hub/datasets/clinic/teeth", "datePublished": "2026-05-04",
        "creator": {"@type": "sc:Organization", "name": "clinic", "url": "https://hub/datasets/clinic"},
    }  # fmt: skip
