"""Table T1: solvers and step counts against decoders, on the same records with the same noise.

Latency is that of one image alone on an idle engine, reported as a ratio. Quality is that of complete builds, scored by
a segmenter trained on reference images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isnan, nan
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dentgen.errors import SpecError
from dentgen.evaluation.generated_images import generated_images
from dentgen.evaluation.judge_cache import cached_judge
from dentgen.evaluation.judge_settings import DEFAULT_JUDGES, JudgeSettings
from dentgen.evaluation.judges import judge_labels
from dentgen.evaluation.reference_set import JUDGE_SEED, TEST_SEED, ReferenceSet, reference_set
from dentgen.evaluation.solver_timing import Timing, measure_timing
from dentgen.models.bundle import find_bundle
from dentgen.models.judge_networks import Segmenter
from dentgen.models.parts import LORAS, TINY_DECODER
from dentgen.progress import ConsoleProgress
from dentgen.quality.map_agreement import Maps, judged_figures
from dentgen.quality.sharpness import high_frequency_energy, structural_similarity
from dentgen.spec.build import BuildSpec

LCM_LORA: Final = "lcm"
KL: Final = "KL"


@dataclass(frozen=True, slots=True)
class Sampler:
    """A solver with its number of steps and the LoRAs that it needs in the UNet."""

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
    """A decoder, "kl" or "tiny", and the bundle that holds it."""

    name: str
    bundle: str
    decoder: str


@dataclass(frozen=True, slots=True)
class Row:
    """Figures of one sampler with one decoder.

    Attributes:
        sampler, decoder: Names.
        latency: Seconds of one image over those of DDIM 50 with the KL decoder.
        decoding: Share of the latency that is decoding.
        boundary_f1, bleed_in, bleed_out, miou: As in ``judged_figures``.
        detail: High-frequency energy over that of the reference images.
        ssim: Structural similarity to the reference image of the same record.
        ssim_kl: Structural similarity to the KL decoder's image of the same latents.
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
    """The table and its images.

    Attributes:
        rows: One per sampler and decoder.
        decoder_speed: Seconds of the KL decoder over those of each decoder, for one image.
        build_speed: The same for a build's batch.
        reference: Row of the reference images.
        pictures: (records, H, W, 3) uint8 generated images by sampler and decoder.
        photos: (records, H, W, 3) uint8 reference images.
        keys: Keys of the records.
    """

    rows: list[Row]
    decoder_speed: dict[str, float]
    build_speed: dict[str, float]
    reference: Row
    pictures: dict[tuple[str, str], NDArray[np.uint8]]
    photos: NDArray[np.uint8]
    keys: list[str]

    def figures(self) -> dict[str, Any]:
        """Return everything but the images, with None for NaN, which JSON cannot represent."""
        rows = [
            {name: None if isinstance(value, float) and isnan(value) else value for name, value in asdict(row).items()}
            for row in (*self.rows, self.reference)
        ]
        speeds = {"decoder_speed": self.decoder_speed, "build_speed": self.build_speed}
        return {"rows": rows, **speeds, "records": len(self.keys)}


def available_decodings(bundle: str, before: str | None) -> list[Decoding]:
    """List the KL decoder and the tiny ones.

    Args:
        bundle: Bundle under test; its tiny decoder is listed if it has one.
        before: Bundle with the tiny decoder as it was before distillation; None if there is none.
    """
    tiny = [Decoding("tiny, plain", before, "tiny")] if before else []
    if (find_bundle(bundle) / TINY_DECODER).is_dir():
        tiny.append(Decoding("tiny, distilled", bundle, "tiny"))
    return [Decoding(KL, bundle, "kl"), *tiny]


def compare_solvers(
    spec: BuildSpec, work: str, *, records: int, before: str | None = None, judges: JudgeSettings = DEFAULT_JUDGES
) -> SolverStudy:
    """Measure every sampler with every decoder.

    Args:
        spec: Conditions, model and engine; its sampling is replaced.
        work: Folder for phantoms, judges and builds, shared with the other evaluations.
        records: Number of unseen phantoms to generate from.
        before: Bundle with the tiny decoder as it was before distillation.
        judges: Training of the judge, a U-Net.

    Raises:
        SpecError: If the bundle has no LCM-LoRA.
    """
    _require_lcm_lora(spec.model.bundle)
    size = spec.conditions.edge
    training = reference_set(work, judges.records, JUDGE_SEED, size)
    test = reference_set(work, records, TEST_SEED, size)
    steps = judges.unet_steps
    judge = cached_judge(
        work, Segmenter, training.photos, training.seg, steps=steps, seed=0, name="unet", photometric=True
    )
    decodings = available_decodings(spec.model.bundle, before)
    timing = measure_timing({d.name: solver_spec(spec, SAMPLERS[-1], d) for d in decodings})
    images = _generate(spec, work, test, decodings)
    return SolverStudy(
        rows=[
            measured_row(sampler, name, images[sampler.name, name], images[sampler.name, KL], test, judge, timing)
            for sampler in SAMPLERS
            for name in timing.decode
        ],
        decoder_speed=timing.speedup(KL),
        build_speed=timing.batch_speedup(KL),
        reference=_row("reference", "", test.photos, test.photos, test, judge),
        pictures=images,
        photos=test.photos,
        keys=test.keys,
    )


def _require_lcm_lora(bundle: str) -> None:
    if not (find_bundle(bundle) / LORAS / LCM_LORA).is_dir():
        raise SpecError(key="model.bundle", found=f"no {LORAS}/{LCM_LORA} in {bundle}", expected="a bundle with one")


def _generate(
    spec: BuildSpec, work: str, test: ReferenceSet, decodings: Sequence[Decoding]
) -> dict[tuple[str, str], NDArray[np.uint8]]:
    images = {}
    steps = sum(sampler.steps for sampler in SAMPLERS) * len(decodings)
    done = 0
    with ConsoleProgress("T1", "step") as progress:
        for sampler in SAMPLERS:
            for decoding in decodings:
                own = solver_spec(spec, sampler, decoding)
                images[sampler.name, decoding.name] = generated_images(work, own, test, variants=1)[:, 0]
                done += sampler.steps
                progress(done, steps)
    return images


def solver_spec(spec: BuildSpec, sampler: Sampler, decoding: Decoding) -> BuildSpec:
    """Return the spec with another sampler (its LoRAs added to the spec's own) and decoder."""
    loras = {**spec.model.loras, **dict.fromkeys(sampler.loras, 1.0)}
    model = spec.model.model_copy(update={"bundle": decoding.bundle, "decoder": decoding.decoder, "loras": loras})
    sampling = spec.sampling.model_copy(update={"scheduler": sampler.scheduler, "steps": sampler.steps})
    return BuildSpec.model_validate(spec.model_copy(update={"model": model, "sampling": sampling}).model_dump())


def measured_row(
    sampler: Sampler,
    decoder: str,
    images: NDArray[np.uint8],
    kl_images: NDArray[np.uint8],
    test: ReferenceSet,
    judge: Segmenter,
    timing: Timing,
) -> Row:
    """Score the images of one sampler and decoder.

    Args:
        sampler: The sampler.
        decoder: Name of the decoder, a key of ``timing.decode``.
        images: (records, H, W, 3) uint8.
        kl_images: What the KL decoder made of the same latents.
        test: Records that the images were generated from.
        judge: Segmenter that scores them.
        timing: Seconds per tick and decoder; latency is relative to the first sampler with the KL decoder.
    """
    seconds = timing.latency(sampler.steps, decoder)
    latency = seconds / timing.latency(SAMPLERS[0].steps, KL)
    decoding = timing.decode[decoder] / seconds
    return _row(sampler.name, decoder, images, kl_images, test, judge, latency, decoding)


def _row(
    sampler: str,
    decoder: str,
    images: NDArray[np.uint8],
    kl_images: NDArray[np.uint8],
    test: ReferenceSet,
    judge: Segmenter,
    latency: float = nan,
    decoding: float = nan,
) -> Row:
    judged = judged_figures(judge_labels(judge, images), Maps(test.seg, test.fdi, test.light))
    return Row(
        sampler=sampler,
        decoder=decoder,
        latency=latency,
        decoding=decoding,
        **{name: judged[name] for name in ("miou", "boundary_f1", "bleed_in", "bleed_out")},
        detail=float(high_frequency_energy(images).mean() / high_frequency_energy(test.photos).mean()),
        ssim=float(structural_similarity(images, test.photos).mean()),
        ssim_kl=float(structural_similarity(images, kl_images).mean()),
    )
