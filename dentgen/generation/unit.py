"""One unit in one process, from condition shard to tar bytes, in reading order. No Ray.

This is what a debugger steps through, and the oracle of the most important test: bytes from Ray = bytes from here.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from dentgen import storage
from dentgen.conditions.readers.raw import ConditionShard
from dentgen.conditions.unit_records import EMPTY_QUARANTINE, Quarantine, read_unit
from dentgen.diffusion.canvas import Canvas, Sampled
from dentgen.documents import LedgerRecord, SampleStatus, Unit, UnitTiming
from dentgen.errors import ControlError
from dentgen.generation.canvases import build_canvases, sample_requests
from dentgen.generation.generator import Generator
from dentgen.generation.samples import sample_members, sample_status
from dentgen.records import GeneratedSample, SampleRequest
from dentgen.shards.ledger import digest_of
from dentgen.shards.tar import tar_bytes

_NOT_FINITE: Final = "sampling gave values that are not finite"

#: Samples canvases and returns clean latents, or an error, by key: an engine of one's own, or one that units share.
Sampler = Callable[[Sequence[Canvas]], Mapping[str, Sampled]]


@dataclass(frozen=True, slots=True)
class UnitResult:
    """A unit's shard (empty if every record was rejected) and its commit record."""

    shard: bytes
    record: LedgerRecord


def generate_unit(
    generator: Generator, unit: Unit, shard: ConditionShard, sampler: Sampler, quarantine: Quarantine = EMPTY_QUARANTINE
) -> UnitResult:
    """Make one unit: read, prepare, embed, encode, sample, decode, pack.

    Args:
        generator: Models and plan.
        unit: Which records.
        shard: The condition shard that the unit names.
        sampler: ``engine.run`` or a driver's.
        quarantine: Records that are known to kill who reads them; they are rejected unread.
    """
    started, began = time.time(), time.monotonic()  # the clock may be set back meanwhile
    records, rejected = read_unit(generator.spec, unit, shard, quarantine)
    requests, unusable = sample_requests(generator, unit, records)
    sampled = sampler(build_canvases(generator, requests))
    samples, broken = _decode(generator, requests, sampled)
    members = [(sample.request.key, sample_members(generator.plan, generator.spec, sample)) for sample in samples]
    tar = tar_bytes(members) if members else b""
    written = [sample_status(sample.request, "written") for sample in samples]
    record = _ledger_record(generator, unit, tar, [*written, *rejected, *unusable, *broken])
    timing = UnitTiming(started=started, seconds=time.monotonic() - began, worker=f"{platform.node()}:{os.getpid()}")
    return UnitResult(tar, record.model_copy(update={"timing": timing}))


def _decode(
    generator: Generator, requests: Sequence[SampleRequest], sampled: Mapping[str, Sampled]
) -> tuple[list[GeneratedSample], list[SampleStatus]]:
    """Pictures of finite latents; what the engine refused, or what diverged, is rejected alone.

    Raises:
        ControlError: If a control branch failed. That is no property of the sample: the unit is to be tried again.
    """
    samples: list[GeneratedSample] = []
    rejected: list[SampleStatus] = []
    finite: list[tuple[SampleRequest, Tensor]] = []
    for request in requests:
        result = sampled[request.key]
        if isinstance(result, ControlError):
            raise result
        if isinstance(result, Tensor) and bool(torch.isfinite(result).all()):
            finite.append((request, result))
        else:
            reason = f"{request.key}: {_NOT_FINITE}" if isinstance(result, Tensor) else str(result)
            rejected.append(sample_status(request, "rejected", reason))
    pictures = generator.codec.decode_finite([latents for _, latents in finite])
    for (request, _), picture in zip(finite, pictures, strict=True):
        if picture is None:
            rejected.append(sample_status(request, "rejected", f"{request.key}: decoded, {_NOT_FINITE}"))
        else:
            samples.append(GeneratedSample(request, picture))
    return samples, rejected


def _ledger_record(generator: Generator, unit: Unit, tar: bytes, samples: Sequence[SampleStatus]) -> LedgerRecord:
    return LedgerRecord(
        unit=unit.id,
        spec_digest=generator.plan.spec_digest,
        bundle_digest=generator.plan.bundle_digest,
        shard=storage.name_of(f"{unit.name}.tar") if tar else "",
        bytes=len(tar),
        sha256=digest_of(tar),
        samples=tuple(samples),
    )
