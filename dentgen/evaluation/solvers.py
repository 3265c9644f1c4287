"""Table T1: solvers and their steps against decoders, on the same records with the same noise.

Latency is of one picture alone on an idle engine: steps times a tick of one slot, and one decoded picture, measured
side by side in this process and told as ratios. Quality is of whole builds, judged by a segmenter that learnt from
reference pictures. Refuses to know how models were trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from statistics import median
from time import perf_counter
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from dentgen.errors import SpecError
from dentgen.evaluation.generated_images import generated_pictures
from dentgen.evaluation.judge_cache import DEFAULT_JUDGES, JudgeSettings, kept_segmenters
from dentgen.evaluation.judges import DilatedSegmenter, Segmenter, judge_labels
from dentgen.evaluation.reference_set import JUDGE_SEED, TEST_SEED, ReferenceSet, reference_set
from dentgen.generation.generator import Generator, build_engine, load_generator
from dentgen.models.bundle import find_bundle
from dentgen.models.parts import LORAS, TINY_DECODER
from dentgen.pipeline.plan import make_plan
from dentgen.quality.map_agreement import Maps, judged_figures
from dentgen.quality.sharpness import high_frequency_energy, structural_similarity
from dentgen.spec.build import BuildSpec

LCM_LORA: Final = "lcm"
_ROUNDS: Final = 21


@dataclass(frozen=True, slots=True)
class Sampler:
    """A solver with its steps; ``loras`` go into the UNet for it."""

    name: str
    scheduler: str
    steps: int
    loras: tuple[str, ...] = ()


SAMPLERS: Final = (
    Sampler("DDIM 50", "ddim", 50),
    Sampler("DDIM 20", "ddim", 20),
    Sampler("DPM++ 2M 8", "dpmpp_2m", 8),
    Sampler("LCM 8", "lcm", 8, (LCM_LORA,)),
    Sampler("LCM 4", "lcm", 4, (LCM_LORA,)),
    Sampler("UniPC 8", "unipc", 8),
    Sampler("UniPC 4", "unipc", 4),
)


@dataclass(frozen=True, slots=True)
class Decoding:
    """A decoder: ``kl``, or the tiny one of a bundle."""

    name: str
    bundle: str
    decoder: str


@dataclass(frozen=True, slots=True)
class Row:
    """Figures of one sampler with one decoder.

    Attributes:
        sampler, decoder: Names.
        latency: Of one picture over that of DDIM 50 with the KL decoder.
        decoding: Share of the latency that is decoding.
        boundary_f1, bleed_in, bleed_out, miou: As ``judged_figures``.
        detail: High-frequency energy over that of the reference pictures.
        ssim: To the reference picture of the same record.
        ssim_kl: To the KL decoder's picture of the same latents.
    """

    sampler: str
    decoder: str
    latency: float
    decoding: float
    miou: float
    boundary_f1: float
    bleed_in: float
    bleed_out: float
    detail: float
    ssim: float
    ssim_kl: float


@dataclass(frozen=True, slots=True, eq=False)
class SolverStudy:
    """The table and its pictures.

    Attributes:
        rows: One for each sampler with each decoder.
        decoder_speed: Time of the KL decoder over each decoder's, for one picture.
        build_speed: The same for a batch as builds decode it.
        reference: The row of the reference pictures.
        pictures: (records, H, W, 3) by sampler and decoder.
        photos: Reference pictures (records, H, W, 3).
        keys: Of the records.
    """

    rows: list[Row]
    decoder_speed: dict[str, float]
    build_speed: dict[str, float]
    reference: Row
    pictures: dict[tuple[str, str], NDArray[np.uint8]]
    photos: NDArray[np.uint8]
    keys: list[str]

    def figures(self) -> dict[str, Any]:
        """Everything but pictures, for JSON, which knows no NaN."""
        rows = [
            {name: None if isinstance(value, float) and isnan(value) else value for name, value in asdict(row).items()}
            for row in (*self.rows, self.reference)
        ]
        return {
            "rows": rows,
            "decoder_speed": self.decoder_speed,
            "build_speed": self.build_speed,
            "records": len(self.keys),
        }


def decodings_of(bundle: str, before: str | None) -> list[Decoding]:
    """The KL decoder and the tiny ones that there are: another bundle's, before its distillation, and this one's."""
    tiny = [Decoding("tiny, plain", before, "tiny")] if before else []
    if (find_bundle(bundle) / TINY_DECODER).is_dir():
        tiny.append(Decoding("tiny, distilled", bundle, "tiny"))
    return [Decoding("KL", bundle, "kl"), *tiny]


def study_solvers(
    spec: BuildSpec, work: str, *, records: int, before: str | None = None, judges: JudgeSettings = DEFAULT_JUDGES
) -> SolverStudy:
    """Measure every sampler with every decoder.

    Args:
        spec: Conditions, model and engine; its sampling is replaced.
        work: Folder for phantoms, judges and builds, the same as for fidelity.
        records: Unseen phantoms to generate from.
        before: Bundle with the tiny decoder as it was before distillation.
        judges: What judges learn from.

    Raises:
        SpecError: If the bundle has no LCM-LoRA.
    """
    if not (find_bundle(spec.model.bundle) / LORAS / LCM_LORA).is_dir():
        raise SpecError(f"model.bundle: found no {LORAS}/{LCM_LORA} in {spec.model.bundle}, expected one for LCM")
    size = spec.conditions.size
    learnt, test = reference_set(work, judges.records, JUDGE_SEED, size), reference_set(work, records, TEST_SEED, size)
    judge = kept_segmenters(work, learnt.photos, learnt.seg, judges)["unet"]
    decodings = decodings_of(spec.model.bundle, before)
    tick, decode, batch = _seconds(spec, test, decodings)
    slowest = SAMPLERS[0].steps * tick + decode["KL"]
    reference = _row("reference", "", test.photos, test.photos, test, judge)
    study = SolverStudy([], _over_kl(decode), _over_kl(batch), reference, {}, test.photos, test.keys)
    for sampler in SAMPLERS:
        for decoding in decodings:
            pictures = generated_pictures(work, _spec(spec, sampler, decoding), test, variants=1)[:, 0]
            study.pictures[sampler.name, decoding.name] = pictures
            seconds = sampler.steps * tick + decode[decoding.name]
            kl = study.pictures[sampler.name, "KL"]
            row = _row(sampler.name, decoding.name, pictures, kl, test, judge)
            study.rows.append(_timed(row, seconds / slowest, decode[decoding.name] / seconds))
    return study


def _spec(spec: BuildSpec, sampler: Sampler, decoding: Decoding) -> BuildSpec:
    loras = {**spec.model.loras, **dict.fromkeys(sampler.loras, 1.0)}
    model = spec.model.model_copy(update={"bundle": decoding.bundle, "decoder": decoding.decoder, "loras": loras})
    sampling = spec.sampling.model_copy(update={"scheduler": sampler.scheduler, "steps": sampler.steps})
    return BuildSpec.model_validate(spec.model_copy(update={"model": model, "sampling": sampling}).model_dump())


def _row(
    sampler: str,
    decoder: str,
    pictures: NDArray[np.uint8],
    kl: NDArray[np.uint8],
    test: ReferenceSet,
    judge: Segmenter | DilatedSegmenter,
) -> Row:
    judged = judged_figures(judge_labels(judge, pictures), Maps(test.seg, test.fdi, test.light))
    return Row(
        sampler=sampler,
        decoder=decoder,
        latency=float("nan"),
        decoding=float("nan"),
        **{name: judged[name] for name in ("miou", "boundary_f1", "bleed_in", "bleed_out")},
        detail=float(high_frequency_energy(pictures).mean() / high_frequency_energy(test.photos).mean()),
        ssim=float(structural_similarity(pictures, test.photos).mean()),
        ssim_kl=float(structural_similarity(pictures, kl).mean()),
    )


def _timed(row: Row, latency: float, decoding: float) -> Row:
    return Row(**{**asdict(row), "latency": latency, "decoding": decoding})


def _over_kl(seconds: Mapping[str, float]) -> dict[str, float]:
    return {name: seconds["KL"] / value for name, value in seconds.items()}


def _seconds(
    spec: BuildSpec, test: ReferenceSet, decodings: Sequence[Decoding]
) -> tuple[float, dict[str, float], dict[str, float]]:
    """Medians of interleaved rounds: a tick of an engine with one slot; by decoder one picture, and a build's."""
    generators = {decoding.name: _generation(_spec(spec, SAMPLERS[-1], decoding), test) for decoding in decodings}
    first = generators["KL"]
    engine = build_engine(first, first.spec.sampling.first_rows, 1)
    engine.warm_up()
    ticks: list[float] = []
    decodes: dict[str, list[float]] = {name: [] for name in generators}
    batches: dict[str, list[float]] = {name: [] for name in generators}
    for _ in range(_ROUNDS):
        ticks.append(engine.warm_up())
        for name, generator in generators.items():
            decodes[name].append(_decode_seconds(generator))
            batches[name].append(_batch_seconds(generator))
    return median(ticks), _medians(decodes), _medians(batches)


def _medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: median(values) for name, values in seconds.items()}


def _generation(spec: BuildSpec, test: ReferenceSet) -> Generator:
    source = spec.source.model_copy(update={"path": test.source, "split": None})
    return load_generator(make_plan(spec.model_copy(update={"source": source})))


@torch.no_grad()
def _decode_seconds(generator: Generator) -> float:
    """One picture through the decoder alone, in a batch of its own."""
    bundle = generator.bundle
    decoder = bundle.tiny_decoder or bundle.vae
    edge = generator.spec.conditions.size // generator.codec.downscale
    latents = torch.zeros(1, 4, edge, edge, device=bundle.unet.device, dtype=bundle.unet.dtype)
    decoder.decode(latents)
    begin = perf_counter()
    decoder.decode(latents).sample.float().cpu()
    return perf_counter() - begin


def _batch_seconds(generator: Generator) -> float:
    """As many pictures as the engine has slots, from latents to levels."""
    edge = generator.spec.conditions.size // generator.codec.downscale
    latents = [torch.zeros(4, edge, edge)] * generator.spec.engine.slots
    begin = perf_counter()
    generator.codec.decode_finite(latents)
    return perf_counter() - begin


def table_lines(study: SolverStudy) -> list[str]:
    """The table as aligned text."""
    names = [name for name in Row.__slots__ if name not in {"sampler", "decoder"}]
    lines = [f"{'sampler':12s} {'decoder':16s} " + " ".join(f"{name:>11s}" for name in names)]
    for row in (*study.rows, study.reference):
        cells = " ".join(f"{getattr(row, name):11.3f}" for name in names)
        lines.append(f"{row.sampler:12s} {row.decoder:16s} {cells}")
    return [*lines, *speed_lines(study)]


def speed_lines(study: SolverStudy) -> list[str]:
    """How fast each other decoder is."""
    return [
        f"decoder {name}: {speed:.1f} times as fast as KL, {study.build_speed[name]:.1f} times in a build's batches"
        for name, speed in study.decoder_speed.items()
        if name != "KL"
    ]
