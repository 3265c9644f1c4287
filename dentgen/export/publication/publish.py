"""Publish a finished build on the Hugging Face hub: shards first, then the index; interrupted uploads continue."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dentgen import storage
from dentgen.documents.index import ShardEntry
from dentgen.errors import BuildError
from dentgen.export.publication.hub import HubRepository
from dentgen.export.publication.published_documents import published_card, published_croissant
from dentgen.export.publication.release import (
    Release,
    documents_of,
    published_plan_head,
    shards_left_out,
)
from dentgen.shards import layout
from dentgen.shards.reader import read_shard

#: Limits of one commit: the hub advises against many files, and they are staged on disk.
BATCH_FILES: Final = 50
_BATCH_BYTES: Final = 4 << 30
#: Files that the hub itself puts into a new repository.
_OF_THE_HUB: Final = (".gitattributes", layout.CARD)

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Publication:
    """What is left to do to publish a build.

    Attributes:
        release: What is published.
        repository: Where.
        is_public: Whether everybody can see the repository; None if it does not exist yet.
        pending: Shards that it lacks.
    """

    release: Release
    repository: HubRepository
    is_public: bool | None
    pending: Sequence[ShardEntry]


def prepare(release: Release, repository: HubRepository) -> Publication:
    """Compare a build with what its repository holds; nothing is written.

    Raises:
        StorageError: If the hub cannot be asked.
        BuildError: If the repository holds something else than this build or an earlier version of it.
    """
    is_public = repository.is_public()
    found = {} if is_public is None else repository.files()
    shards = {f"{layout.SHARDS}/{shard.name}": shard for shard in release.index.shards}
    own = {name: shard.sha256 for name, shard in shards.items()}
    own |= {f"{layout.SHARDS}/{name}": sha256 for name, sha256 in shards_left_out(release).items()}
    _require_same_dataset(repository, release, found, own)
    pending = [shard for name, shard in shards.items() if name not in found]
    return Publication(release, repository, is_public, pending)


def publish(publication: Publication, *, private: bool = True, progress: Progress | None = None) -> None:
    """Upload what the repository lacks; after an interruption, ``prepare`` and this continue.

    Args:
        publication: What is left to do.
        private: Visibility of a repository that is created; one that is public already is refused.
        progress: Called with the shards that are there and all shards.

    Raises:
        StorageError: If a shard cannot be read, or the hub does not take a file.
        BuildError: If a shard is not the one that the index names, or everybody can see the repository.
    """
    release, repository = publication.release, publication.repository
    if private and publication.is_public:
        raise BuildError(
            file=f"hf://{repository.id}", found="a public repository", expected="a private one", advice="or --public"
        )
    repository.create(private=private)
    planned = len(release.index.shards)
    done = planned - len(publication.pending)
    for batch in _batches(publication.pending):
        _upload_shards(release, repository, batch)
        done += len(batch)
        if progress is not None:
            progress(done, planned)
    _upload_documents(release, repository)


def _require_same_dataset(
    repository: HubRepository, release: Release, found: Mapping[str, str], shards: Mapping[str, str]
) -> None:
    """Files of another dataset would be mixed with this one's; those of a newer version would be lost."""
    own = {*documents_of(release.plan.segment + 1), *_OF_THE_HUB}
    own |= {name for name in found if layout.is_review(name)}
    foreign = sorted(name for name, sha256 in found.items() if name not in own and shards.get(name) != sha256)
    if not foreign and layout.INDEX in found:
        index = repository.index()
        if (index.spec_digest, index.bundle_digest) != (release.index.spec_digest, release.index.bundle_digest):
            foreign = [layout.INDEX]
    if foreign:
        raise BuildError(
            file=f"hf://{repository.id}",
            key=foreign[0],
            found=f"{len(foreign)} files that are not of this build",
            expected="an empty repository, or an earlier version of this build",
            advice="publish under another name",
        )


def _batches(shards: Sequence[ShardEntry]) -> Iterator[list[ShardEntry]]:
    batch: list[ShardEntry] = []
    for shard in shards:
        if batch and (len(batch) == BATCH_FILES or sum(s.bytes for s in batch) + shard.bytes > _BATCH_BYTES):
            yield batch
            batch = []
        batch.append(shard)
    if batch:
        yield batch


def _upload_shards(release: Release, repository: HubRepository, batch: Sequence[ShardEntry]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, layout.SHARDS)
        place.mkdir()
        for shard in batch:
            (place / shard.name).write_bytes(read_shard(release.out, shard))
        repository.upload(Path(folder), f"Shards {batch[0].name} to {batch[-1].name}")


def _upload_documents(release: Release, repository: HubRepository) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in release.documents:
            file = Path(folder, name)
            file.parent.mkdir(exist_ok=True)
            _stage(release, repository, name, file)
        repository.upload(Path(folder), f"Version {release.index.version}: {release.index.written} samples")


def _stage(release: Release, repository: HubRepository, name: str, file: Path) -> None:
    """Copy a document, with what is added or left out on publication."""
    url = storage.join(release.out, name)
    heads = {layout.plan_head(segment): segment for segment in range(release.plan.segment + 1)}
    if name in heads:
        file.write_bytes(published_plan_head(release, heads[name]))
    elif name == layout.CROISSANT:
        day = datetime.now(UTC).date()
        content, certificate = storage.read_bytes(url), release.certificate
        file.write_bytes(published_croissant(content, repository.url, repository.owner, day, certificate))
    elif name == layout.CARD:
        file.write_bytes(published_card(storage.read_bytes(url), release.certificate))
    else:
        with storage.open_read(url) as source, file.open("wb") as copied:
            shutil.copyfileobj(source, copied)
