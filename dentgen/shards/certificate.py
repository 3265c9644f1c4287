"""``certificate.json``: sections of figures, each with the command that computes it and what it was computed from."""

from __future__ import annotations

import logging
from typing import Final, Literal

from pydantic import Field, ValidationError

from dentgen import storage
from dentgen.documents.document import Document
from dentgen.errors import StorageError, faults_of
from dentgen.shards import layout
from dentgen.shards.index_reader import index_sha256

_LOG = logging.getLogger(__name__)
SectionName = Literal["agreement", "gate", "rejections", "duplicates", "usefulness", "memorisation", "review"]
#: Digits behind the point: figures of two runs on one machine are equal, those of two machines nearly.
DIGITS: Final = 4


class CertificateSection(Document):
    """One question, and what was found.

    Without figures, ``missing`` says why and what would be needed.
    """

    figures: dict[str, float | None] = Field(default={}, description="By name; null where nothing could be compared.")
    command: str = Field(default="", description="Computes them again; OUT is the dataset.")
    computed_from: dict[str, str] = Field(default={}, description="sha256 of what they were computed from, by name.")
    missing: str = Field(default="", description='Why there are no figures, "" if there are.')


class Certificate(Document):
    """The certificate of one version of a dataset."""

    format: Literal[1] = 1
    dentgen: str = Field(description="Version of dentgen that computed it.")
    version: int = Field(ge=0, description="Version of the dataset.")
    index_sha256: str = Field(description="sha256 of its index.")
    samples_sha256: str = Field(description="sha256 of its table of samples.")
    samples: int = Field(ge=0, description="Samples in its shards.")
    spec_digest: str
    bundle_digest: str
    sections: dict[SectionName, CertificateSection]


def rounded(value: float) -> float | None:
    """A figure as a certificate holds it; None for NaN and infinities."""
    return round(value, DIGITS) if value == value and abs(value) != float("inf") else None


def read_certificate(out: str) -> Certificate:
    """The certificate that is stored with a build.

    Raises:
        StorageError: If there is none, or it is damaged.
    """
    url = storage.join(out, layout.CERTIFICATE)
    try:
        return Certificate.model_validate_json(storage.read_bytes(url))
    except ValidationError as error:
        raise StorageError(f"not a certificate: {faults_of(error)}", file=storage.without_secrets(url)) from error


def current_certificate(out: str) -> Certificate | None:
    """The certificate of a build's latest version; None if there is none, or it is damaged or of an earlier version.

    Raises:
        StorageError: If the storage cannot be reached.
    """
    url = storage.join(out, layout.CERTIFICATE)
    content = storage.read_if_exists(url)
    if content is None:
        return None
    try:
        certificate = Certificate.model_validate_json(content)
    except ValidationError as error:
        _LOG.warning("%s: no certificate: %s", storage.without_secrets(url), faults_of(error))
        return None
    return certificate if certificate.index_sha256 == index_sha256(out) else None
