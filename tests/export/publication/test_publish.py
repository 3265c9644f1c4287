"""Publication: complete, only what the index names, index last, continued, and never mixed with another dataset."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from dentgen import open_dataset
from dentgen.errors import BuildError, StorageError
from dentgen.export.publication import publish as module
from dentgen.export.publication.hub import HubRepository
from dentgen.export.publication.publish import prepare, publish
from dentgen.export.publication.published_documents import published_card
from dentgen.export.publication.release import documents_of, read_release
from dentgen.shards.index_reader import read_index
from dentgen.shards.plan_file import read_plan
from tests.export.publication.conftest import finished
from tests.export.publication.hub_server import Hub

REPOSITORY = "clinic/teeth"


def published(hub: Hub, folder: Path) -> Path:
    """What the hub holds, as files."""
    for name, content in hub.repositories[REPOSITORY].items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


def test_a_dry_run_writes_nothing(build: Path, repository: HubRepository, hub: Hub) -> None:
    work = prepare(read_release(str(build)), repository)
    assert work.is_public is None
    assert [shard.name for shard in work.pending] == [f"00000{number}.tar" for number in range(4)]
    assert (hub.repositories, hub.objects, hub.commits) == ({}, {}, [])


def test_what_is_published_is_the_dataset_and_nothing_else(
    build: Path, repository: HubRepository, hub: Hub, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    publish(prepare(read_release(str(build)), repository), progress=lambda *counts: seen.append(counts))
    shards = {f"shards/00000{number}.tar" for number in range(4)}
    documents = {name for name in documents_of(1) if (build / name).exists()}
    found = hub.repositories[REPOSITORY]
    assert found.keys() == shards | documents | {".gitattributes"}
    for name in (shards | documents) - {"croissant.json", "README.md", "plan/000000.json"}:
        assert found[name] == (build / name).read_bytes(), name
    assert found["README.md"] == published_card((build / "README.md").read_bytes(), None)
    assert hub.private[REPOSITORY]
    assert seen == [(4, 4)]
    assert "index.json" in hub.commits[-1][1], "readers see an index after its shards"
    assert not shards & set(hub.commits[-1][1])
    copy = published(hub, tmp_path / "copy")
    keys = [sample["key"] for sample in open_dataset(str(copy))]
    assert keys == [sample["key"] for sample in open_dataset(str(build))]
    assert len(keys) == read_index(str(build)).written


def test_places_of_whoever_built_are_left_out(repository: HubRepository, hub: Hub, tmp_path: Path) -> None:
    source = str(tmp_path / "Patients" / "Miller-2024")
    build = finished(tmp_path / "deep" / "build", 1, source={"path": source})
    assert "Patients" in (build / "plan" / "000000.json").read_text()
    publish(prepare(read_release(str(build)), repository))
    found = hub.repositories[REPOSITORY]
    assert json.loads(found["plan/000000.json"])["spec"]["source"]["path"] == "Miller-2024"
    assert not [name for name, content in found.items() if b"Patients" in content]
    copy = published(hub, tmp_path / "copy")
    assert read_plan(str(copy)).digest() == read_index(str(copy)).plan_sha256


def test_a_public_repository_is_refused_unless_it_is_asked_for(
    build: Path, repository: HubRepository, hub: Hub
) -> None:
    hub.repositories[REPOSITORY], hub.private[REPOSITORY] = {".gitattributes": b""}, False
    work = prepare(read_release(str(build)), repository)
    assert work.is_public
    with pytest.raises(BuildError) as caught:
        publish(work)
    assert caught.value.found == "a public repository"
    assert hub.objects == {}
    publish(work, private=False)
    assert "index.json" in hub.repositories[REPOSITORY]


def test_croissant_says_where_and_by_whom_it_was_published(build: Path, repository: HubRepository, hub: Hub) -> None:
    publish(prepare(read_release(str(build)), repository))
    found: dict[str, Any] = json.loads(hub.repositories[REPOSITORY]["croissant.json"])
    assert found["url"] == f"{hub.endpoint}/datasets/clinic/teeth"
    assert found["creator"]["name"] == "clinic"
    assert len(found["datePublished"]) == len("2026-01-01")
    local = json.loads((build / "croissant.json").read_bytes())
    assert {key: value for key, value in found.items() if key not in ("url", "creator", "datePublished")} == local


def test_an_interrupted_upload_continues(
    build: Path, repository: HubRepository, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_FILES", 1)
    release = read_release(str(build))
    third = release.index.shards[2].sha256
    hub.refuse = lambda sha256: sha256 == third
    with pytest.raises(StorageError) as caught:
        publish(prepare(release, repository))
    assert caught.value.file == "hf://clinic/teeth"
    assert "hf_secret" not in str(caught.value)
    assert "index.json" not in hub.repositories[REPOSITORY]
    hub.refuse = lambda _: False
    work = prepare(release, repository)
    assert work.is_public is False
    assert [shard.name for shard in work.pending] == ["000002.tar", "000003.tar"]
    publish(work)
    assert sorted(hub.puts) == sorted(set(hub.puts)), "nothing was sent twice"
    assert "index.json" in hub.repositories[REPOSITORY]
    assert prepare(release, repository).pending == []


def test_a_grown_build_sends_its_new_shards_alone(
    build: Path, repository: HubRepository, hub: Hub, tmp_path: Path
) -> None:
    publish(prepare(read_release(str(build)), repository))
    sent = len(hub.puts)
    grown = finished(tmp_path / "grown", 5)
    work = prepare(read_release(str(grown)), repository)
    assert [shard.name for shard in work.pending] == ["000004.tar"]
    publish(work)
    assert set(hub.puts[sent:]) & {shard.sha256 for shard in read_index(str(grown)).shards} == {work.pending[0].sha256}
    with pytest.raises(BuildError) as caught:  # the earlier version would lose a shard
        prepare(read_release(str(build)), repository)
    assert caught.value.key == "shards/000004.tar"


def test_another_dataset_is_not_mixed_with_this_one(build: Path, repository: HubRepository, hub: Hub) -> None:
    hub.repositories[REPOSITORY] = {"shards/000000.tar": b"other", "README.md": b"", ".gitattributes": b""}
    with pytest.raises(BuildError) as caught:
        prepare(read_release(str(build)), repository)
    assert caught.value.key == "shards/000000.tar"
    assert hub.commits == []


def test_an_index_of_another_dataset_is_not_written_over(build: Path, repository: HubRepository, hub: Hub) -> None:
    other = json.loads((build / "index.json").read_bytes()) | {"spec_digest": "another"}
    hub.repositories[REPOSITORY] = {"index.json": json.dumps(other).encode(), "samples.parquet": b"x"}
    with pytest.raises(BuildError) as caught:
        prepare(read_release(str(build)), repository)
    assert caught.value.key == "index.json"


def test_a_report_that_is_there_alone_belongs_to_the_build(build: Path, repository: HubRepository, hub: Hub) -> None:
    (build / "report.html").write_text("<!doctype html>")
    publish(prepare(read_release(str(build)), repository))
    (build / "report.html").unlink()
    assert prepare(read_release(str(build)), repository).pending == []


def test_a_shard_that_was_replaced_is_not_published(build: Path, repository: HubRepository, hub: Hub) -> None:
    (build / "shards" / "000001.tar").write_bytes(b"x")
    with pytest.raises(BuildError) as caught:
        publish(prepare(read_release(str(build)), repository))
    assert caught.value.file.endswith("000001.tar")
    assert hashlib.sha256(b"x").hexdigest() not in hub.objects


def test_batches_are_limited_in_files_and_bytes(
    build: Path, repository: HubRepository, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_FILES", 3)
    publish(prepare(read_release(str(build)), repository))
    assert [len(names) for _, names in hub.commits[:-1]] == [3, 1]
    shards = read_release(str(build)).index.shards
    monkeypatch.setattr(module, "_BATCH_BYTES", shards[0].bytes + shards[1].bytes)
    assert [len(batch) for batch in module._batches(shards)] == [2, 2]
