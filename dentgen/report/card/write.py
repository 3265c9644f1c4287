"""Describe a sealed build: the card and Croissant, as the latest files and beside the version's index.

Refuses to know what they say.
"""

from __future__ import annotations

import hashlib

from dentgen import storage
from dentgen.documents import DatasetIndex
from dentgen.report.card.card import CARD, dataset_card
from dentgen.report.card.croissant import CROISSANT, SamplesFile, croissant
from dentgen.report.card.sample_summary import summarise
from dentgen.shards.index import SAMPLES
from dentgen.shards.parquet import table_of
from dentgen.shards.plan import Plan


def write_description(out: str, plan: Plan, index: DatasetIndex) -> None:
    """Write ``README.md`` and ``croissant.json`` of a build, and the version's copies of them.

    Called again it writes the same bytes. Paths in the copies are relative to the build, not to their folder.

    Args:
        out: The build, sealed.
        plan: Its plan.
        index: Its index.

    Raises:
        StorageError: If the table of samples cannot be read, or nothing can be put.
    """
    table = storage.read_bytes(storage.join(out, SAMPLES))
    samples = summarise(table_of(table))
    samples_file = SamplesFile(hashlib.sha256(table).hexdigest(), len(table))
    documents = {
        CARD: dataset_card(index, plan, samples),
        CROISSANT: croissant(index, plan, samples, samples_file),
    }
    for name, content in documents.items():
        storage.put_if_absent(storage.join(out, "versions", str(index.version), name), content)
        storage.overwrite(storage.join(out, name), content)
