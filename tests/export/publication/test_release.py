"""Which builds may be published."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.errors import BuildError, StorageError
from dentgen.export.publication.release import read_release, reasons_against
from dentgen.shards.certificate import CertificateSection
from dentgen.shards.plan_file import read_plan
from tests.export.publication.conftest import certificate, finished
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
    own = certificate(build)
    for content, published in ((own, True), (own.model_copy(update={"index_sha256": "other"}), False), (None, False)):
        (build / "certificate.json").write_text("[]" if content is None else content.model_dump_json())
        (build / "certificate.html").write_text("")
        release = read_release(str(build))
        assert [name in release.documents for name in ("certificate.json", "certificate.html")] == [published] * 2
        assert release.certificate == (own if published else None)


def test_a_build_without_samples_is_refused(tmp_path: Path) -> None:
    fake_build(tmp_path, [rejected(0, "x")])
    (tmp_path / "_SUCCESS").touch()
    with pytest.raises(BuildError) as caught:
        read_release(str(tmp_path))
    assert caught.value.found == "no sample"


def test_pictures_from_photographs_need_consent(build: Path) -> None:
    plan = read_release(str(build)).plan
    from_photo = with_spec(plan, sampling={"start_from": "photo"})
    assert next(reasons_against(str(build), from_photo, allow_photographs=False)).key == "sampling.start_from"
    assert [reason.key for reason in reasons_against(str(build), from_photo, allow_photographs=True)] == [
        "memorisation"
    ]
    assert list(reasons_against(str(build), plan, allow_photographs=False)) == []


def test_samples_tell_of_photographs_whatever_the_plan_says(tmp_path: Path) -> None:
    """The table of samples is sealed by its hash; a plan could be edited."""
    build = finished(tmp_path, 1, sampling={"start_from": "photo", "strength": 0.5})
    plan = with_spec(read_plan(str(build)), sampling={"start_from": "noise"})
    keys = [reason.key for reason in reasons_against(str(build), plan, allow_photographs=False)]
    assert keys == ["sampling.start_from", "memorisation"]


def test_pictures_from_photographs_are_not_published_without_a_look_at_copies(tmp_path: Path) -> None:
    build = finished(tmp_path, 1, sampling={"start_from": "photo", "strength": 0.5})
    own = certificate(build)
    few, all_of_them = (
        CertificateSection(figures={"copies": 0.0, "generated": number}, command="dentgen certify OUT")
        for number in (1.0, 2.0)
    )
    for section, found in ((None, "0"), (own.sections["memorisation"], "0"), (few, "1"), (all_of_them, "")):
        if section is not None:
            changed = own.model_copy(update={"sections": {**own.sections, "memorisation": section}})
            (build / "certificate.json").write_text(changed.model_dump_json())
        reasons = list(reasons_against(str(build), read_plan(str(build)), allow_photographs=True))
        assert [(reason.key, str(reason.found).split()[0]) for reason in reasons] == (
            [("memorisation", found)] if found else []
        )
    (build / "report.html").write_text("rejected pictures")
    release = read_release(str(build), allow_photographs=True)
    assert release.certificate is not None
    assert "report.html" not in release.documents


def test_verdicts_that_a_certificate_quotes_are_published_with_it(build: Path) -> None:
    (build / "review").mkdir()
    (build / "review" / "0123456789abcdef.json").write_text("{}")
    own = certificate(build)
    section = CertificateSection(figures={"verdicts": 1.0}, command="dentgen certify OUT")
    for sections, published in ((own.sections, False), ({**own.sections, "review": section}, True)):
        (build / "certificate.json").write_text(own.model_copy(update={"sections": sections}).model_dump_json())
        assert ("review/0123456789abcdef.json" in read_release(str(build)).documents) == published


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
