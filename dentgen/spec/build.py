"""BuildSpec: everything that decides a dataset, in one YAML file.

Unknown keys are errors, every key has a default and a description, and the digest covers exactly what decides bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, Final

from pydantic import Field, model_validator

from dentgen.diffusion.window_grid import fitted, offsets
from dentgen.records import ConditionName
from dentgen.spec.augment import AugmentSpec
from dentgen.spec.conditions import ConditionsSpec
from dentgen.spec.findings import MAX_FINDINGS, FindingSpec, RegionsSpec
from dentgen.spec.model import ModelSpec
from dentgen.spec.output import OutputSpec
from dentgen.spec.pipeline import EngineSpec, PipelineSpec
from dentgen.spec.quality import QualitySpec
from dentgen.spec.randomise import RandomiseSpec
from dentgen.spec.sampling import CELL, PAINTED, SamplingSpec
from dentgen.spec.section import Section
from dentgen.spec.source import SourceSpec
from dentgen.spec.variants import VariantsSpec

#: Keys that specs did not have at first: where they ask for nothing, digests stay those of specs without them.
_LATER: Final = (
    ("engine", "unet_batch", None),
    ("model", "encode_tile", None),
    ("sampling", "noise", "record"),
    ("sampling", "paste_border", None),
    ("sampling", "upscale", None),
)


class BuildSpec(Section):
    """One dataset build."""

    source: SourceSpec = SourceSpec()
    output: OutputSpec = OutputSpec()
    model: ModelSpec = ModelSpec()
    conditions: ConditionsSpec = ConditionsSpec()
    sampling: SamplingSpec = SamplingSpec()
    engine: EngineSpec = EngineSpec()
    pipeline: PipelineSpec = PipelineSpec()
    quality: QualitySpec = QualitySpec()
    augment: AugmentSpec = Field(default=AugmentSpec(), description="Random changes of the finished images.")
    randomise: RandomiseSpec = Field(
        default=RandomiseSpec(), description="Prompts and scales that every sample draws for itself."
    )
    findings: tuple[FindingSpec, ...] = Field(
        default=(), max_length=MAX_FINDINGS, description="Findings to ask for: drawn per sample, recorded, judged."
    )
    regions: RegionsSpec = Field(
        default=RegionsSpec(), description="Painted regions of records, and how regions begin."
    )
    variants: VariantsSpec = Field(default=VariantsSpec(), description="What differs between variants of a record.")

    @property
    def required_conditions(self) -> tuple[ConditionName, ...]:
        """Conditions that every record must have: a findings map need not be there where the spec asks for findings."""
        return tuple(name for name in self.conditions.use if not (name == "findings" and self.findings))

    @property
    def max_regions(self) -> int:
        """Regions of a picture with all findings, and as many painted ones as there may be."""
        return sum(finding.prompt is not None for finding in self.findings) + self.regions.painted

    @property
    def max_windows(self) -> int:
        """Windows of a picture; 1 as long as its size is not resolved."""
        window, overlap = self.sampling.window, self.sampling.window_overlap
        if window is None or self.conditions.size is None:
            return 1
        height, width = self.conditions.shape
        cells = (height // CELL, width // CELL)
        parts = fitted(cells, window // CELL)
        return math.prod(len(offsets(*each, overlap)) for each in zip(cells, parts, strict=True))

    @property
    def first_rows(self) -> int:
        """UNet rows of a picture at its first step, at most: of its own prompt and every region, in every window."""
        return self.sampling.first_rows * (1 + self.max_regions) * self.max_windows

    @property
    def unsaid_words(self) -> tuple[str, ...]:
        """Chosen textual inversions that no prompt says; none as long as records bring prompts of their own."""
        sampling = self.sampling
        if sampling.prompt is None or self.regions.painted:
            return ()
        asked = [text for each in self.findings for text in (each.prompt, each.negative_prompt)]
        drawn = (*self.variants.prompts, *self.randomise.prompts)
        texts = [sampling.prompt, sampling.prompt_to, sampling.negative_prompt, *drawn, *asked]
        return tuple(name for name in self.model.embeddings if not any(f"<{name}>" in text for text in texts if text))

    @model_validator(mode="after")
    def _fits_slots(self) -> BuildSpec:
        for key, slots in (("slots", self.engine.slots), ("control_slots", self.control_slots)):
            if self.first_rows > slots:
                raise ValueError(f"engine.{key} {slots}: guidance and regions need {self.first_rows} rows per picture")
        return self

    @model_validator(mode="after")
    def _gate_fits(self) -> BuildSpec:
        gate = self.quality.gate
        if gate is not None and "segmentation" not in self.conditions.use:
            raise ValueError("quality.gate: found no segmentation in conditions.use, expected it to compare with")
        if gate is not None and gate.retry and (self.variants.change or self.sampling.seed_to is not None):
            raise ValueError(
                f"quality.gate.retry {gate.retry}: variants that share their noise cannot be made again alone"
            )
        return self

    @model_validator(mode="after")
    def _one_factor(self) -> BuildSpec:
        change = self.variants.change
        if "findings" in change and not self.findings:
            raise ValueError("variants.change findings needs findings to ask for")
        if "lighting" in change and "lighting" not in self.conditions.use:
            raise ValueError("variants.change lighting needs lighting in conditions.use")
        if change and (self.sampling.interpolates or self.sampling.variants < 2):
            raise ValueError("variants.change needs at least two variants, and no interpolation between them")
        return self

    @model_validator(mode="after")
    def _draws_act(self) -> BuildSpec:
        draws, sampling = self.randomise, self.sampling
        if draws.guidance_scale is not None and sampling.guidance_scale == 1:
            raise ValueError("randomise.guidance_scale: found sampling.guidance_scale 1, expected one that guides")
        if draws.control_scale is not None and not (self.model.adapters or self.model.controlnets):
            raise ValueError("randomise.control_scale: found no adapters or controlnets, expected some in model")
        by_class = [name for name, scale in self.model.adapters.items() if isinstance(scale, dict)]
        if draws.control_scale is not None and by_class:  # KEY.json would not say what acted in unnamed classes
            raise ValueError(f"randomise.control_scale: found scales by class of {by_class}, expected one scale each")
        if draws.prompts and (sampling.prompt_to is not None or "prompt" in self.variants.change):
            raise ValueError("randomise.prompts: expected neither sampling.prompt_to nor variants.change prompt")
        return self

    @model_validator(mode="after")
    def _series_alike(self) -> BuildSpec:
        """Frames of a series agree only if nothing that is drawn per record differs between them."""
        drawn = {
            "findings": bool(self.findings),
            **{f"randomise.{key}": True for key in self.randomise.used},
            "variants.change lighting": "lighting" in self.variants.change,
            "quality.gate.retry": self.quality.gate is not None and self.quality.gate.retry > 0,
            **{f"augment.{key}": True for key in self.augment.used},
        }
        found = [name for name, given in drawn.items() if given]
        if self.sampling.noise != "record" and found:
            raise ValueError(f"sampling.noise {self.sampling.noise}: found {', '.join(found)}, drawn per record")
        return self

    @model_validator(mode="after")
    def _frames_whole(self) -> BuildSpec:
        if self.sampling.frames > 1 and self.max_regions:
            raise ValueError(
                "sampling.start_from reference: expected neither findings with prompts nor painted regions"
            )
        return self

    @model_validator(mode="after")
    def _repaints_what_is_read(self) -> BuildSpec:
        if PAINTED in self.sampling.repaint and not self.regions.painted:
            raise ValueError(
                "sampling.repaint names painted: found regions.painted 0, expected as many as records have"
            )
        return self

    @model_validator(mode="after")
    def _findings_usable(self) -> BuildSpec:
        parted = self.max_regions or self.sampling.window is not None
        if parted and self.sampling.guidance == "initialize" and self.sampling.guidance_scale != 1:
            raise ValueError("sampling.guidance initialize: windows and regions need full or self")
        if self.regions.leak and self.sampling.first_rows > 1:
            raise ValueError("regions.leak needs guidance_scale 1 or guidance self")
        for n, finding in enumerate(self.findings):
            if not finding.changes(self.conditions.use):
                raise ValueError(f"findings.{n}: found no prompt, and no map in use that shows {finding.kind}")
            if finding.negative_prompt is not None and self.sampling.first_rows == 1:
                raise ValueError(
                    f"findings.{n}.negative_prompt is read with guidance_scale other than 1 and guidance full"
                )
        return self

    @model_validator(mode="after")
    def _controlled(self) -> BuildSpec:
        named = {*self.model.adapters, *self.model.controlnets}
        if both := set(self.model.adapters) & set(self.model.controlnets):
            raise ValueError(f"model: {sorted(both)} are adapters and controlnets, expected different names")
        if self.conditions.combine == "sum" and named and named != set(self.conditions.use):
            raise ValueError(
                f"conditions.combine sum: found adapters and controlnets {sorted(named)}, expected one for each of "
                f"{sorted(self.conditions.use)}, or none at all"
            )
        return self

    def deciding(self) -> dict[str, Any]:
        """The keys that decide the dataset's bytes, as plain values."""
        values = self.model_dump(mode="json")
        values["source"].pop("path")
        values["output"].pop("path")
        values["model"].pop("bundle")  # its content counts, which the plan's bundle digest names
        values["quality"].pop("max_rejected")
        if self.quality.gate is not None:  # what judges and reference are, the planned gate says
            values["quality"]["gate"].pop("judges"), values["quality"]["gate"].pop("reference")
        values["pipeline"] = {"samples_per_shard": self.pipeline.samples_per_shard}
        values["engine"].pop("fill")
        if self.augment == AugmentSpec():
            values.pop("augment")
        if not self.variants.change:
            values.pop("variants")
        if not self.randomise.used:
            values.pop("randomise")
        for section, key, unused in _LATER:
            if values[section][key] == unused:
                values[section].pop(key)
        if self.sampling.window is None:
            values["sampling"].pop("window"), values["sampling"].pop("window_overlap")
        self._drop_unused_regions(values)
        values["engine"]["control_slots"] = self.control_slots
        return values

    def _drop_unused_regions(self, values: dict[str, Any]) -> None:
        """Leave out findings and regions where there are none: digests stay those of specs that did not know them."""
        if not self.regions.painted:
            values["regions"].pop("painted")
        if not self.findings:
            values.pop("findings")
        if not (self.findings or self.regions.painted):
            values.pop("regions")

    def digest(self) -> str:
        """sha256 of the deciding keys."""
        return hashlib.sha256(json.dumps(self.deciding(), sort_keys=True).encode()).hexdigest()

    @property
    def control_slots(self) -> int:
        """Control slots: one per record, prompt and guidance row in the engine; variants of a record share it."""
        if self.engine.control_slots is not None:
            return self.engine.control_slots
        return self.control_slots_for(self.engine.slots)

    def control_slots_for(self, slots: int) -> int:
        """Control slots that keep ``slots`` row slots busy.

        If whole records fill the row slots, one per record; otherwise parts of two more records are in flight.
        """
        drawn = self.findings or self.variants.change or self.randomise.prompts
        differ = self.sampling.prompt_to is not None or bool(drawn)
        sharing = 1 if differ else self.sampling.variants
        per_canvas = self.first_rows
        rows = per_canvas * sharing
        if slots % rows == 0:
            return per_canvas * slots // rows
        return min(slots, per_canvas * (-(-slots // rows) + 1))
