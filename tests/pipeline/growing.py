"""Builds that grow without a model: sources are read for real, pictures are noise by key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dentgen import storage
from dentgen.conditions.readers.source import list_shards
from dentgen.conditions.unit_records import read_unit
from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.units import Unit, sample_key
from dentgen.generation.samples import rejected_statuses, sample_members, written_status
from dentgen.models.bundle import Bundle
from dentgen.pipeline import finish, repair, run
from dentgen.pipeline.actors.commit_stage import Claims
from dentgen.pipeline.run import BuildOutcome, build
from dentgen.pipeline.source_changes import OnChanged
from dentgen.pipeline.tally import Tally
from dentgen.records import GeneratedSample, SampleRequest
from dentgen.shards import layout
from dentgen.shards.ledger import commit, digest_of, restore
from dentgen.shards.plan import BuildLocation, Plan
from dentgen.shards.tar import tar_bytes
from dentgen.spec.build import BuildSpec
from tests.conftest import small_spec, write_tar
from tests.report.fake_builds import noise

Members = dict[str, dict[str, bytes]]


def growing_spec(source: Path | str, out: Path | str, /, **sections: dict[str, object]) -> BuildSpec:
    """Two variants a record, at most two records a unit, 16 pixels."""
    spec = small_spec(Path("in"), Path("out"), conditions={"size": 16}, **sections)
    places = {"source": {"path": str(source)}, "output": {"path": str(out)}}
    updates = {name: getattr(spec, name).model_copy(update=place) for name, place in places.items()}
    return spec.model_copy(update=updates)


def add_shard(source: Path, name: str, members: Members, first: int, count: int = 2) -> Path:
    """A condition shard of some records of ``JAWS``."""
    keys = sorted(members)[first : first + count]
    return write_tar(source / f"{name}.tar", {key: members[key] for key in keys})


def without_a_model(patch: pytest.MonkeyPatch) -> None:
    """Let units be made of noise, and leave out what takes most of the time then: report and contact sheet."""
    patch.setattr(run, "make_units", _make_units)
    patch.setattr(repair, "make_units", _make_units)
    patch.setattr(finish, "write_report", lambda out, *_: storage.join(out, layout.REPORT))
    patch.setattr(finish, "write_contact_sheet", lambda out, *_: storage.join(out, layout.CONTACT_SHEET))


def grow(spec: BuildSpec, *, tick: str = "", on_changed: OnChanged = "refuse") -> BuildOutcome:
    return build(spec, use_ray=False, tick=tick, on_changed=on_changed)


def files(out: Path, *folders: str) -> dict[str, bytes]:
    """Content of every file of a build, or of these folders of it."""
    names = {path.relative_to(out).as_posix(): path for path in sorted(out.rglob("*")) if path.is_file()}
    return {name: path.read_bytes() for name, path in names.items() if not folders or name.startswith(folders)}


def _make_units(
    plan: Plan,
    units: Sequence[Unit],
    location: BuildLocation,
    *_: object,
    tally: Tally | None = None,
    claims: Claims | None = None,
    progress: Callable[[int], None] = lambda _: None,
    loaded: Bundle | None = None,
) -> tuple[()]:
    shards = {shard.name: shard for shard in list_shards(location.source, plan.spec.source.format, log=False)}
    done = 0
    for unit in units:
        records, rejected = read_unit(plan.spec, unit, shards[unit.shard])
        requests = [
            SampleRequest(sample_key(record.key, v), record, v, v + 1, 0, record.prompt, controls={})
            for record in records
            for v in range(plan.spec.sampling.variants)
        ]
        made = [GeneratedSample(request, noise(request.key, plan.spec.conditions.shape)) for request in requests]
        tar = tar_bytes((one.request.key, sample_members(plan, one)) for one in made) if made else b""
        statuses = [written_status(sample) for sample in made]
        statuses += [status for one in rejected for status in rejected_statuses(one)]
        record = LedgerRecord(
            unit=unit.id, spec_digest=plan.spec_digest, bundle_digest=plan.bundle_digest,
            shard=layout.shard_file(unit.name) if tar else "", bytes=len(tar), sha256=digest_of(tar),
            samples=tuple(statuses),
        )  # fmt: skip
        if claims is None:
            commit(location.output, tar, record)
        else:
            restore(location.output, tar, record, claims[unit.id])
        done += len(statuses)
        progress(done)
    return ()
