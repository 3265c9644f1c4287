"""What people said of the pictures of a check sheet: one file a sheet, kept beside the build in ``review/``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from pydantic import Field, ValidationError, model_validator

from dentgen import storage
from dentgen.curation.check_sheet import MAX_SEED, CheckSheet
from dentgen.documents.document import Document
from dentgen.errors import StorageError, faults_of
from dentgen.shards.layout import REVIEW, is_review, review
from dentgen.shards.tar import json_bytes

#: Why a picture is rejected; the form numbers them from 1.
Reason = Literal["labels", "anatomy", "light", "blurred", "artefact", "other"]
REASONS: Final[dict[Reason, str]] = {
    "labels": "does not show what its labels say",
    "anatomy": "no mouth looks like this",
    "light": "light or exposure is wrong",
    "blurred": "blurred",
    "artefact": "something is there that does not belong there",
    "other": "another reason",
}
_MAX_BYTES: Final = 2**22
#: What names a draw.
_DRAW: Final = ("index_sha256", "count", "seed")


class Verdict(Document):
    """What somebody said of one picture."""

    accept: bool
    reason: Reason | None = Field(default=None, description="Why it was rejected; null if it was accepted.")

    @model_validator(mode="after")
    def _consistent(self) -> Verdict:
        if self.accept == (self.reason is not None):
            raise ValueError("a reason goes with a rejected picture, and with no other")
        return self


class CheckVerdicts(Document):
    """A filled-in check sheet. It names nobody."""

    format: Literal[1] = 1
    sheet: str = Field(pattern="^[0-9a-f]{16}$", description="Drawn at random by the page: whose sheet it is.")
    index_sha256: str = Field(description="sha256 of the index whose pictures were looked at.")
    count: int = Field(ge=1, description="Pictures that the sheet was drawn for.")
    seed: int = Field(ge=0, le=MAX_SEED, description="Seed of the draw.")
    verdicts: dict[str, Verdict] = Field(description="By sample key; pictures that were skipped are missing.")


def read_verdicts(url: str) -> CheckVerdicts:
    """Read a filled-in sheet.

    Raises:
        StorageError: If there is no such file, it is over 4 MiB, or no filled-in sheet.
    """
    place = storage.without_secrets(url)
    content = storage.read_if_exists(url, _MAX_BYTES + 1)
    if content is None:
        raise StorageError(file=place, found="no file", expected="a filled-in check sheet")
    if len(content) > _MAX_BYTES:
        raise StorageError(file=place, found=f"over {_MAX_BYTES} bytes", expected=f"at most {_MAX_BYTES}")
    return parse_verdicts(content, place)


def parse_verdicts(content: bytes, place: str) -> CheckVerdicts:
    """Check a filled-in sheet.

    Args:
        content: JSON, at most 4 MiB.
        place: Where it comes from, for errors.

    Raises:
        StorageError: If it is none.
    """
    try:
        return CheckVerdicts.model_validate_json(content)
    except ValidationError as error:
        raise StorageError(f"not a filled-in check sheet: {faults_of(error)}", file=place) from error


def require_of_sheet(verdicts: CheckVerdicts, sheet: CheckSheet, file: str) -> None:
    """Require that verdicts are of the pictures of a sheet.

    Raises:
        StorageError: If they are of another version of the dataset, another draw, or other pictures.
    """
    place = storage.without_secrets(file)
    for key in _DRAW:
        found, expected = getattr(verdicts, key), getattr(sheet, key)
        if found != expected:
            raise StorageError(file=place, key=key, found=str(found), expected=str(expected))
    known = {entry.key for entry in sheet.entries}
    if strange := sorted(verdicts.verdicts.keys() - known):
        raise StorageError(file=place, key="verdicts", found=strange[0], expected="keys of the sheet's pictures")


def is_of_sheet(verdicts: CheckVerdicts, sheet: CheckSheet) -> bool:
    """Whether verdicts are of this draw from this version of the dataset."""
    return all(getattr(verdicts, key) == getattr(sheet, key) for key in _DRAW)


def store_verdicts(out: str, verdicts: CheckVerdicts) -> str:
    """Keep verdicts beside the build, in place of what was kept of the same sheet before; returns the file's URL."""
    url = storage.join(out, review(verdicts.sheet))
    storage.overwrite(url, json_bytes(verdicts.model_dump(mode="json")))
    return url


def stored_verdicts(out: str) -> Iterator[tuple[str, CheckVerdicts]]:
    """URL and verdicts of everything that is kept beside a build, by name of the file.

    Raises:
        StorageError: If a file is none of verdicts.
    """
    folder = storage.join(out, REVIEW)
    for name in sorted(storage.list_names(folder)):
        if is_review(f"{REVIEW}/{name}"):
            yield storage.join(folder, name), read_verdicts(storage.join(folder, name))
