"""Write the card and the Croissant metadata of a sealed build."""

from __future__ import annotations

from collections.abc import Mapping

from dentgen import storage
from dentgen.documents.index import DatasetIndex
from dentgen.report.card.card import dataset_card
from dentgen.report.card.croissant import SamplesFile, croissant
from dentgen.report.card.sample_summary import summarise
from dentgen.shards.layout import CARD, CROISSANT, SAMPLES, versioned
from dentgen.shards.plan import Plan


def write_description(out: str, plan: Plan, index: DatasetIndex) -> None:
    """Write ``README.md`` and ``croissant.json`` of a build, and the version's copies.

    Calling it again writes the same bytes. Paths in the copies are relative to the build, not to the version's folder.

    Args:
        out: The sealed build.
        plan: Its plan.
        index: Its index.

    Raises:
        StorageError: If the table of samples cannot be read, or a document cannot be written.
    """
    publish_description(out, describe_version(out, plan, index, out))


def describe_version(out: str, plan: Plan, index: DatasetIndex, table: str) -> dict[str, bytes]:
    """Describe a version: write its copies alone, and return the documents by name.

    Args:
        out: The build.
        plan: Its plan.
        index: Index of the version.
        table: Folder that holds its table of samples.

    Raises:
        StorageError: If the table of samples cannot be read, or a document cannot be written.
    """
    samples = summarise(table)
    documents = {
        CARD: dataset_card(index, plan, samples),
        CROISSANT: croissant(index, plan, samples, _samples_file(table)),
    }
    for name, content in documents.items():
        storage.put_if_absent(storage.join(out, versioned(index.version, name)), content)
    return documents


def publish_description(out: str, documents: Mapping[str, bytes]) -> None:
    """Make the documents of a version the latest.

    Raises:
        StorageError: If one cannot be written.
    """
    for name, content in documents.items():
        storage.overwrite(storage.join(out, name), content)


def _samples_file(folder: str) -> SamplesFile:
    url = storage.join(folder, SAMPLES)
    return SamplesFile(storage.sha256_of(url), storage.file_state(url).size)
