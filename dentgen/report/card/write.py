"""Write the card and the Croissant metadata of a sealed build."""

from __future__ import annotations

from dentgen import storage
from dentgen.documents import DatasetIndex
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
    samples = summarise(out)
    documents = {
        CARD: dataset_card(index, plan, samples),
        CROISSANT: croissant(index, plan, samples, _samples_file(out)),
    }
    for name, content in documents.items():
        storage.put_if_absent(storage.join(out, versioned(index.version, name)), content)
        storage.overwrite(storage.join(out, name), content)


def _samples_file(out: str) -> SamplesFile:
    url = storage.join(out, SAMPLES)
    return SamplesFile(storage.sha256_of(url), storage.file_state(url).size)
