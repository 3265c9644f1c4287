"""Copies of samples as an export writes them: encoded as the layout wants, marked, and signed last.

Only a build's pictures are marked and signed, because nothing proves where others come from.
"""

from __future__ import annotations

from dataclasses import replace

from dentgen.documents.index import ShardEntry
from dentgen.errors import ConditionError, SpecError
from dentgen.export.layout import ExportFormat, with_extension
from dentgen.export.marking import Marker
from dentgen.export.signing import Signer
from dentgen.export.source import ExportSample, ExportSource, Rejection
from dentgen.records import MEDIA_TYPE
from dentgen.storage.overlap import is_within


def making(source: ExportSource, destination: str, signer: Signer | None, marker: Marker | None) -> dict[str, str]:
    """Who signs and marks: what an export that continues must have in common with its beginning.

    Returns:
        ``certificate_sha256`` and ``watermark_id``, or neither.

    Raises:
        SpecError: If the pictures cannot be signed or marked: there are others than a build's, a file cannot be used,
            or the watermark's key lies in the destination.
    """
    parameters = {}
    if signer is not None:
        _require_build("--sign", source)
        parameters["certificate_sha256"] = signer.checked()
    if marker is not None:
        _require_build("--watermark", source)
        _require_elsewhere(marker.key, destination)
        parameters["watermark_id"] = marker.checked()
    return parameters


def copied(
    sample: ExportSample, layout: ExportFormat, signer: Signer | None, marker: Marker | None
) -> ExportSample | Rejection:
    """The sample as it is written, or why it cannot be.

    Args:
        sample: As the source has it.
        layout: What it is written in.
        signer: Who signs its picture, if anybody.
        marker: What marks its picture, if anything.

    Raises:
        SpecError: If it cannot be signed or marked because files have changed, or it is no generated picture.
    """
    if layout.splits is not None and sample.split not in layout.splits:
        expected = f"one of {sorted(layout.splits)} in this layout"
        return Rejection(sample.key, f"found the split {sample.split!r}, expected {expected}")
    if marker is None:
        return _signed(with_extension(sample, layout.extension), signer, marked=False)
    try:  # marked and encoded at once, because a JPEG loses something each time
        marked = marker.marked(sample, layout.extension)
    except ConditionError as error:
        return Rejection(sample.key, str(error))
    return _signed(marked, signer, marked=True)


def _signed(sample: ExportSample, signer: Signer | None, *, marked: bool) -> ExportSample:
    """Signed last, because nothing may change its bytes afterwards."""
    if signer is None:
        return sample
    return replace(sample, picture=signer.signed(sample.picture, MEDIA_TYPE[sample.extension], sample, marked=marked))


def _require_build(option: str, source: ExportSource) -> None:
    """Require pictures that dentgen made.

    Raises:
        SpecError: If there are others.
    """
    if not all(isinstance(unit.shard, ShardEntry) for unit in source.units):
        expected = "a finished build: nothing proves where other pictures come from"
        raise SpecError(file=source.place, key=option, found="condition records", expected=expected)


def _require_elsewhere(key: str, destination: str) -> None:
    """Require that whoever gets the pictures does not get the key.

    Raises:
        SpecError: If it lies in their folder.
    """
    if is_within(key, destination):
        raise SpecError(file=key, key="--watermark", found="a file inside the destination", expected="a file elsewhere")
