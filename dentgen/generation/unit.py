"""One unit in one process, from condition shard to tar bytes, in reading order and without Ray.

This is what a debugger steps through, and the oracle of the most important test: bytes from Ray equal bytes from here.
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import chain
from typing import TypeVar

from dentgen import storage
from dentgen.conditions.readers.raw import ConditionShard
from dentgen.conditions.unit_records import EMPTY_QUARANTINE, Quarantine, RejectedRecord, read_unit
from dentgen.diffusion.canvas import Canvas, Failed, Sampled
from dentgen.documents.ledger import LedgerRecord, UnitTiming
from dentgen.documents.samples import SampleStatus
from dentgen.documents.units import Unit
from dentgen.errors import BuildError, ConditionError
from dentgen.generation.attempts import Sampler, accepted_samples
from dentgen.generation.augment import augment
from dentgen.generation.canvases import CanvasFactory
from dentgen.generation.generator import Generator
from dentgen.generation.preparer import Preparer
from dentgen.generation.requests import check_requests, sample_requests
from dentgen.generation.samples import RejectedSample, rejected_statuses, sample_members, written_status
from dentgen.records import ConditionRecord, GeneratedSample, SampleRequest
from dentgen.shards import layout
from dentgen.shards.ledger import UnitResult, digest_of
from dentgen.shards.plan import Plan
from dentgen.shards.tar import tar_bytes

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")


def generate_unit(
    plan: Plan,
    generator: Generator,
    unit: Unit,
    shard: ConditionShard,
    sampler: Sampler,
    quarantine: Quarantine = EMPTY_QUARANTINE,
    packers: Executor | None = None,
) -> UnitResult:
    """Generate one unit: read, prepare, embed, encode, sample, decode, judge, perhaps again, augment, pack.

    Preparing, embedding and encoding run on a thread of their own, ahead of the sampler. A sample for which they fail
    is rejected alone.

    Args:
        plan: The plan; its units are not read.
        generator: Models and settings.
        unit: Which records.
        shard: The condition shard that the unit names.
        sampler: ``engine.run``, or that of an engine that units share.
        quarantine: Records that are known to crash their reader; they are rejected unread.
        packers: Threads that encode samples, which units may share; None: this thread.

    Raises:
        BuildError: If the source is not what was planned, or samples were lost on the way.
        ControlError: If a control branch failed: the unit can be tried again.
    """
    started, start = time.time(), time.monotonic()  # the wall clock may be set back meanwhile
    source_digest = hashlib.sha256()
    records, unreadable = read_unit(plan.spec, unit, shard, quarantine, source_digest)
    requests, unusable, sampled = _sampled(generator, unit, records, sampler)
    kept, failed = accepted_samples(generator, requests, sampled, sampler)
    samples = list(_each(partial(augment, spec=plan.spec.augment), kept, packers))
    encoding = time.monotonic()
    tar = _pack(plan, samples, packers) if samples else b""
    encode_seconds = time.monotonic() - encoding
    statuses = _statuses(samples, chain(unreadable, unusable, failed))
    _require_all(plan, unit, statuses)
    seconds = time.monotonic() - start
    timing = UnitTiming(started=started, seconds=seconds, worker=_worker())
    record = _ledger_record(plan, unit, source_digest.hexdigest(), tar, statuses, timing)
    return UnitResult(tar, record, encode_seconds)


def gate_rejects(
    plan: Plan, generator: Generator, unit: Unit, shard: ConditionShard, sampler: Sampler,
    quarantine: Quarantine = EMPTY_QUARANTINE,
) -> list[RejectedSample]:  # fmt: skip
    """Make a unit once more, for the pictures that its gate rejects, which no shard holds.

    Arguments and errors are those of ``generate_unit``.
    """
    records, _ = read_unit(plan.spec, unit, shard, quarantine)
    requests, _, sampled = _sampled(generator, unit, records, sampler)
    _, failed = accepted_samples(generator, requests, sampled, sampler)
    return [sample for sample in failed if sample.picture is not None]


def _sampled(
    generator: Generator, unit: Unit, records: Sequence[ConditionRecord], sampler: Sampler
) -> tuple[list[SampleRequest], list[RejectedSample], dict[str, Sampled]]:
    """Requests, those that cannot be used, and latents by key; records are prepared while others are sampled."""
    requests: list[SampleRequest] = []
    rejected: list[RejectedSample] = []
    failed: dict[str, Sampled] = {}
    factory = CanvasFactory(generator)

    def prepared(group: Sequence[ConditionRecord]) -> list[Canvas]:
        usable, unusable = _requests(generator, unit, group)
        outcomes = factory.canvases_or_errors(usable) if usable else []
        requests.extend(usable)
        rejected.extend(unusable)
        failed.update((outcome.key, outcome.error) for outcome in outcomes if isinstance(outcome, Failed))
        return [outcome for outcome in outcomes if isinstance(outcome, Canvas)]

    with Preparer(generator.spec.engine.threads) as preparer:
        sampled = sampler(preparer.ahead(prepared, record_groups(generator, records)))
    return requests, rejected, {**sampled, **failed}


def record_groups(generator: Generator, records: Sequence[ConditionRecord]) -> list[Sequence[ConditionRecord]]:
    """Records to prepare together, in order: as many as fill a batch of the autoencoder, so that it runs no more often.

    Variants that have maps of their own count as so many records.
    """
    spec = generator.spec
    own_maps = bool(spec.findings) or bool(spec.variants.change)
    size = -(-spec.engine.codec_batch // spec.sampling.variants) if own_maps else spec.engine.codec_batch
    return [records[i : i + size] for i in range(0, len(records), size)]


def _pack(plan: Plan, samples: Sequence[GeneratedSample], packers: Executor | None) -> bytes:
    """Encode samples, with packers several at a time, and archive them in their order.

    Threads are enough: Pillow's encoders release the GIL, where nearly all of the time is spent.
    """
    encoded = _each(partial(sample_members, plan), samples, packers)
    return tar_bytes((sample.request.key, members) for sample, members in zip(samples, encoded, strict=True))


def _each(work: Callable[[_Item], _Made], items: Iterable[_Item], packers: Executor | None) -> Iterator[_Made]:
    """``work`` on every item, in their order."""
    return map(work, items) if packers is None else packers.map(work, items)


def _requests(
    generator: Generator, unit: Unit, records: Sequence[ConditionRecord]
) -> tuple[list[SampleRequest], list[RejectedSample]]:
    """Variants of every record, and those that the spec's way of sampling cannot take."""
    requests: list[SampleRequest] = []
    rejected: list[RejectedSample] = []
    for record in records:
        variants = sample_requests(generator, record)
        try:
            check_requests(generator, variants)
        except ConditionError as error:
            reason = f"{storage.name_of(unit.shard)}: {record.key}: {error}"
            rejected += [RejectedSample(request, reason) for request in variants]
        else:
            requests += variants
    return requests, rejected


def _statuses(
    samples: Sequence[GeneratedSample], rejections: Iterable[RejectedRecord | RejectedSample]
) -> tuple[SampleStatus, ...]:
    """One status per planned sample: planned = written + rejected."""
    written = (written_status(sample) for sample in samples)
    return tuple(chain(written, chain.from_iterable(map(rejected_statuses, rejections))))


def _require_all(plan: Plan, unit: Unit, statuses: Sequence[SampleStatus]) -> None:
    """A unit that is short of samples must not be committed: it would stay so for good."""
    planned = unit.samples(plan.spec.sampling.variants)
    if len(statuses) != planned:
        written = sum(status.status == "written" for status in statuses)
        raise BuildError(
            "samples were lost or made twice", key=f"unit {unit.name}",
            found=f"{written} written and {len(statuses) - written} rejected", expected=f"{planned} in all, as planned",
        )  # fmt: skip


def _worker() -> str:
    """A name that tells processes apart and names no machine: ledgers are published with the data."""
    return hashlib.sha256(f"{platform.node()}:{os.getpid()}".encode()).hexdigest()[:8]


def _ledger_record(
    plan: Plan, unit: Unit, source_sha256: str, tar: bytes, statuses: tuple[SampleStatus, ...], timing: UnitTiming
) -> LedgerRecord:
    return LedgerRecord(
        unit=unit.id,
        spec_digest=plan.spec_digest,
        bundle_digest=plan.bundle_digest,
        shard=layout.shard_file(unit.name) if tar else "",
        bytes=len(tar),
        sha256=digest_of(tar),
        source_sha256=source_sha256,
        samples=statuses,
        timing=timing,
    )
