"""What of a finished build is published: what its index names, its description, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from dentgen import storage
from dentgen.documents import DatasetIndex
from dentgen.errors import BuildError
from dentgen.models.bundle_licenses import use_restrictions
from dentgen.shards import layout
from dentgen.shards.index import read_index
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import read_plan
from dentgen.shards.tar import json_bytes

#: Files beside the shards.
DOCUMENTS: Final = (
    layout.plan_head(), layout.plan_units(), layout.SAMPLES, layout.CONTACT_SHEET, layout.REPORT, layout.CROISSANT,
    layout.CARD, layout.SUCCESS, layout.INDEX,
)  # fmt: skip
_OPTIONAL: Final = (layout.CONTACT_SHEET, layout.REPORT)


@dataclass(frozen=True, slots=True)
class Release:
    """A finished build that may be published.

    Attributes:
        out: The build's folder or URL.
        index: Its index.
        plan: Its plan.
        documents: Content of every file beside the shards, by name, without what is added on publication.
    """

    out: str
    index: DatasetIndex
    plan: Plan
    documents: Mapping[str, bytes]

    @property
    def bytes(self) -> int:
        """Size of everything that is published."""
        return sum(shard.bytes for shard in self.index.shards) + sum(map(len, self.documents.values()))

    @property
    def restrictions(self) -> tuple[str, ...]:
        """URLs of restrictions on use that the bundle's licenses pass on."""
        return use_restrictions(self.plan.bundle_licenses)


def read_release(out: str, *, allow_photographs: bool = False) -> Release:
    """Read a build and check that it may be published.

    Args:
        out: The build.
        allow_photographs: Also publish pictures that were generated from photographs, which may show parts of them.

    Raises:
        StorageError: If a file cannot be read.
        BuildError: If the build is not finished, its table of samples is not the one that was sealed, or a check
            forbids its publication.
    """
    index = _finished_index(out)
    plan = read_plan(out)
    release = Release(out, index, plan, dict(_documents(out)))
    _require_sealed_table(release)
    for reason in reasons_against(plan, allow_photographs=allow_photographs):
        raise reason
    return release


def reasons_against(plan: Plan, *, allow_photographs: bool) -> Iterator[BuildError]:
    """Why a build must not be published; checks that forbid publication belong here."""
    if not (plan.spec.sampling.synthetic or allow_photographs):
        yield BuildError(
            file="spec",
            key="sampling.start_from",
            found="pictures that were generated from photographs, in which people may be recognised",
            expected="pictures that were generated from noise",
            advice="with the consent of these people, --allow-photographs publishes them",
        )


def published_croissant(content: bytes, url: str, owner: str, day: date) -> bytes:
    """Croissant metadata with what is known on publication: address, publisher and date.

    Args:
        content: ``croissant.json`` of the build.
        url: Address of the dataset's page.
        owner: Organization or user that publishes it.
        day: Date of publication.
    """
    document = json.loads(content)
    creator = {"@type": "sc:Organization", "name": owner, "url": url.rpartition("/")[0]}
    return json_bytes({**document, "url": url, "creator": creator, "datePublished": day.isoformat()})


def _finished_index(out: str) -> DatasetIndex:
    if not storage.exists(storage.join(out, layout.SUCCESS)):
        file = storage.without_secrets(out)
        raise BuildError(file=file, found=f"no {layout.SUCCESS}", expected="a finished build")
    index = read_index(out)
    if not index.shards:
        raise BuildError(file=storage.without_secrets(out), found="no sample", expected="at least one")
    return index


def _documents(out: str) -> Iterator[tuple[str, bytes]]:
    for name in DOCUMENTS:
        content = storage.read_if_exists(storage.join(out, name))
        if content is not None:
            yield name, content
        elif name not in _OPTIONAL:
            file = storage.without_secrets(storage.join(out, name))
            raise BuildError(file=file, found="no file", expected="a file of a finished build")


def _require_sealed_table(release: Release) -> None:
    found = hashlib.sha256(release.documents[layout.SAMPLES]).hexdigest()
    if found != release.index.samples_sha256:
        raise BuildError(
            file=storage.without_secrets(storage.join(release.out, layout.SAMPLES)),
            found=f"sha256 {found}",
            expected=f"{release.index.samples_sha256}, as the index says",
        )
