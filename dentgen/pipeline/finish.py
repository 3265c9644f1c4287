"""The end of a build of which no unit is pending: its version is sealed and described, and becomes the latest."""

from __future__ import annotations

import tempfile

from dentgen import storage
from dentgen.documents.index import DatasetIndex
from dentgen.errors import NothingWrittenError
from dentgen.report.card.write import describe_version, publish_description
from dentgen.report.contact_sheet import write_contact_sheet
from dentgen.report.html.page import write_report
from dentgen.shards.index import mark_success, publish_index, publish_table, require_all_done, write_version
from dentgen.shards.ledger import first_reasons
from dentgen.shards.ledger_table import read_records
from dentgen.shards.plan import Plan
from dentgen.shards.seals import write_seal


def finish(out: str, plan: Plan, *, again: bool = False, tick: str = "") -> tuple[DatasetIndex, str]:
    """Seal a build of which no unit is pending; write card, contact sheet and report.

    First everything in the version's own folder, then the files at the top, and the index last: until then, readers
    see the version before, and afterwards this one.

    Args:
        out: The build.
        plan: Its plan.
        again: As for ``write_version``.
        tick: Key of the scheduled tick that seals it, "" for none.

    Raises:
        NothingWrittenError: If every sample was rejected; then nothing is sealed.
        BuildError: If the ledger does not fit the plan; then nothing is sealed either.
    """
    require_all_done(out, plan)
    with tempfile.TemporaryDirectory() as folder:
        index, documents = seal_version(out, plan, folder, again=again, tick=tick)
        publish_table(out, folder)
    publish_description(out, documents)
    write_contact_sheet(out, index)
    report = write_report(out, plan, index)
    publish_index(out, index)
    mark_success(out)
    return index, report


def seal_version(
    out: str, plan: Plan, folder: str, *, again: bool = False, tick: str = ""
) -> tuple[DatasetIndex, dict[str, bytes]]:
    """Write everything in the folder of the version that a plan tells, and nothing else.

    Args:
        out: The build.
        plan: The plan up to the version.
        folder: Local folder that takes its table of samples.
        again: As for ``write_version``.
        tick: Key of the scheduled tick that seals it, "" for none.

    Returns:
        Its index, and the documents that describe it, by name.

    Raises:
        NothingWrittenError: If every sample was rejected.
        BuildError: As ``write_version``.
    """
    _require_written(out, plan)
    index = write_version(out, plan, folder, again=again)
    documents = describe_version(out, plan, index, folder)
    write_seal(out, plan, index, tick)
    return index, documents


def _require_written(out: str, plan: Plan) -> None:
    if not any(record.shard for record in read_records(out, plan)):
        reasons = first_reasons(out, (unit.name for unit in plan.units))
        raise NothingWrittenError(
            "nothing was written, so there is no dataset", file=storage.without_secrets(out),
            found=f"{plan.planned} rejected samples: {'; '.join(reasons)}", expected="at least one usable record",
        )  # fmt: skip
