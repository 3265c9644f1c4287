"""What of a finished build is published: what its index names, its description, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow.compute as pc

from dentgen import storage
from dentgen.documents.index import DatasetIndex
from dentgen.documents.units import unit_name
from dentgen.errors import BuildError
from dentgen.models.restricted_use import use_restrictions
from dentgen.shards import layout
from dentgen.shards.certificate import Certificate, CertificateSection, current_certificate
from dentgen.shards.index_reader import read_index
from dentgen.shards.ledger import read_ledgers
from dentgen.shards.plan import Plan, without_places
from dentgen.shards.plan_file import read_plan, read_segment
from dentgen.shards.sample_table import stream_samples
from dentgen.shards.tar import json_bytes

#: Files beside the shards and the plan.
_DOCUMENTS: Final = (
    layout.SAMPLES, layout.CONTACT_SHEET, layout.REPORT, layout.CROISSANT, layout.CARD, layout.CERTIFICATE,
    layout.CERTIFICATE_PAGE, layout.SUCCESS, layout.INDEX,
)  # fmt: skip
_OPTIONAL: Final = (layout.CONTACT_SHEET, layout.REPORT, layout.CERTIFICATE, layout.CERTIFICATE_PAGE)
_EXAMPLES: Final = 3
#: Pictures that must have been compared with the photographs that they come from, or all of a smaller build.
_LOOKED_AT: Final = 512


@dataclass(frozen=True, slots=True)
class Release:
    """A finished build that may be published.

    Attributes:
        out: The build's folder or URL.
        index: Its index.
        plan: Its plan.
        documents: Names of the files beside the shards.
        names: Some of the names of records and groups, which every sample tells.
        certificate: Its certificate; None if it has none of this version.
    """

    out: str
    index: DatasetIndex
    plan: Plan
    documents: tuple[str, ...]
    names: tuple[str, ...]
    certificate: Certificate | None = None

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
        BuildError: If the build is not finished, a file is not the one that was sealed, or a check forbids its
            publication.
    """
    index = _finished_index(out)
    plan = read_plan(out, index.version)
    _require_sealed(out, index, plan)
    for reason in reasons_against(out, plan, allow_photographs=allow_photographs):
        raise reason
    certificate = current_certificate(out)
    return Release(out, index, plan, tuple(_documents(out, plan, certificate)), _names(out), certificate)


def reasons_against(out: str, plan: Plan, *, allow_photographs: bool) -> Iterator[BuildError]:
    """Why a build must not be published; checks that forbid publication belong here."""
    if plan.synthetic and _all_synthetic(out):
        return
    if not allow_photographs:
        yield BuildError(
            file=storage.without_secrets(out),
            key="sampling.start_from",
            found="pictures that were generated from photographs, in which people may be recognised",
            expected="pictures that were generated from noise",
            advice="with the consent of these people, --allow-photographs publishes them",
        )
    needed = min(read_index(out).written, _LOOKED_AT)
    if (found := _looked_at(current_certificate(out))) < needed:
        yield BuildError(
            file=storage.without_secrets(storage.join(out, layout.CERTIFICATE)),
            key="memorisation",
            found=f"{found} pictures of this version that were compared with photographs",
            expected=f"{needed} at least: pictures that were generated from photographs may repeat them",
            advice="dentgen certify OUT --training THE PHOTOGRAPHS --held-out OTHERS compares them",
        )


def _looked_at(certificate: Certificate | None) -> int:
    """Pictures that a certificate compares with training pictures."""
    section = None if certificate is None else certificate.sections.get("memorisation")
    return 0 if section is None else int(section.figures.get("generated") or 0)


def documents_of(segments: int) -> tuple[str, ...]:
    """Names of the files beside the shards of a build with this many plan segments, the index last."""
    plan = (name for number in range(segments) for name in (layout.plan_head(number), layout.plan_units(number)))
    return (*plan, *_DOCUMENTS)


def published_plan_head(release: Release, segment: int) -> bytes:
    """The head of a plan segment without the folders of whoever built."""
    head = read_segment(release.out, segment).head
    return json_bytes(head.model_copy(update={"spec": without_places(head.spec)}).model_dump(mode="json"))


def shards_left_out(release: Release) -> dict[str, str]:
    """sha256 by name of shards that only earlier versions of the build have."""
    names = sorted(map(unit_name, release.plan.retired))
    return {record.shard: record.sha256 for record in read_ledgers(release.out, names) if record.shard}


def _finished_index(out: str) -> DatasetIndex:
    if not storage.exists(storage.join(out, layout.SUCCESS)):
        file = storage.without_secrets(out)
        raise BuildError(file=file, found=f"no {layout.SUCCESS}", expected="a finished build")
    index = read_index(out)
    if not index.shards:
        raise BuildError(file=storage.without_secrets(out), found="no sample", expected="at least one")
    return index


def _documents(out: str, plan: Plan, certificate: Certificate | None) -> Iterator[str]:
    left_out = () if certificate is not None else (layout.CERTIFICATE, layout.CERTIFICATE_PAGE)
    if not plan.synthetic:  # a report may show pictures that were rejected, with which nothing was compared
        left_out = (*left_out, layout.REPORT)
    for name in documents_of(plan.segment + 1):
        url = storage.join(out, name)
        if storage.exists(url) and name not in left_out:
            yield name
        elif name not in _OPTIONAL:
            raise BuildError(file=storage.without_secrets(url), found="no file", expected="a file of a finished build")
    if certificate is not None and certificate.sections.get("review", CertificateSection()).figures:
        yield from (f"{layout.REVIEW}/{name}" for name in storage.list_names(storage.join(out, layout.REVIEW)))


def _require_sealed(out: str, index: DatasetIndex, plan: Plan) -> None:
    """Require that plan, table of samples and descriptions are those that the build was sealed with."""
    head = layout.plan_head(plan.segment)
    _require(out, head, plan.spec.digest(), plan.spec_digest)
    _require(out, head, plan.digest(), index.plan_sha256)
    _require(out, layout.SAMPLES, storage.sha256_of(storage.join(out, layout.SAMPLES)), index.samples_sha256)
    for name in (layout.CARD, layout.CROISSANT):
        found, sealed = (storage.join(out, place) for place in (name, layout.versioned(index.version, name)))
        _require(out, name, storage.sha256_of(found), storage.sha256_of(sealed))


def _require(out: str, name: str, found: str, sealed: str) -> None:
    if found != sealed:
        file = storage.without_secrets(storage.join(out, name))
        raise BuildError(
            file=file, found=f"sha256 {found}", expected=f"{sealed}, with which the build was sealed",
            advice="'dentgen verify' and 'dentgen repair' find and mend what was changed",
        )  # fmt: skip


def _all_synthetic(out: str) -> bool:
    return all(pc.all(batch.written["synthetic"]).as_py() is not False for batch in stream_samples(out, ("synthetic",)))


def _names(out: str) -> tuple[str, ...]:
    """The first few names of groups and records."""
    batch = next(stream_samples(out, ("group", "source_key")))
    columns = (batch.written[name].unique().to_pylist()[:_EXAMPLES] for name in ("group", "source_key"))
    return tuple(dict.fromkeys(name for column in columns for name in column if name))
