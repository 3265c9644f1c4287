"""BuildSpec: everything that decides a dataset, in one YAML file.

Unknown keys are errors, every key has a default and a description, and the digest covers what decides bytes and nothing
else. Refuses to know how any of it is done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dentgen.errors import SpecError
from dentgen.records import ConditionName


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceSpec(_Section):
    """Where condition records come from."""

    path: str = Field(default="conditions/", description="Folder, shards or Parquet; local path or any fsspec URL.")
    format: Literal["auto", "webdataset", "parquet", "folder"] = Field(
        default="auto", description="How records are stored; auto looks at the file names."
    )
    split: str | None = Field(default=None, description="Use only records of this split; null takes all.")
    limit: int | None = Field(default=None, ge=1, description="Use only so many records, the first ones; null: all.")
    ignore_members: tuple[str, ...] = Field(
        default=(), description="Members (as 'notes.txt') that records may have beside known ones; others are refused."
    )


class OutputSpec(_Section):
    """Where the dataset goes."""

    path: str = Field(default="out/", description="Folder or any fsspec URL.")
    image_format: Literal["png", "jpg", "webp"] = Field(
        default="png", description="Of the generated picture; label maps are always PNG."
    )


class ModelSpec(_Section):
    """What makes the pictures."""

    bundle: str = Field(default="miniature", description="The embedded miniature, a bundle folder or URL, or a hub id.")
    adapters: dict[str, float] = Field(
        default={"blended": 1.0}, description="ctrLoRA adapter and the scale of its residuals; {} uses the bare base."
    )
    decoder: Literal["kl"] = Field(default="kl", description="What turns latents into pictures.")


class ConditionsSpec(_Section):
    """How a record becomes a control image."""

    use: tuple[ConditionName, ...] = Field(
        default=("segmentation", "lighting"), min_length=1, description="Conditions that control the picture."
    )
    combine: Literal["blend"] = Field(default="blend", description="How several conditions become one control image.")
    alpha: float = Field(default=0.3, ge=0, le=1, description="Share of segmentation colours over lighting.")
    size: int = Field(default=128, ge=8, le=4096, multiple_of=8, description="Edge of the picture, pixels.")
    fit: Literal["pad", "crop", "stretch"] = Field(default="pad", description="What happens to other shapes.")

    @model_validator(mode="after")
    def _blendable(self) -> ConditionsSpec:
        if len(self.use) > 1 and set(self.use) != {"segmentation", "lighting"}:
            raise ValueError(f"cannot blend {list(self.use)}: use one condition, or segmentation and lighting")
        return self


class SamplingSpec(_Section):
    """How pictures are sampled."""

    scheduler: Literal["unipc", "lcm", "ddim"] = Field(default="unipc", description="Solver.")
    steps: int = Field(default=4, ge=1, le=1000, description="UNet calls per picture.")
    guidance_scale: float = Field(default=1.0, ge=0, description="Classifier-free guidance; 1 needs no second row.")
    variants: int = Field(default=4, ge=1, le=1000, description="Pictures per record, each with its own noise.")
    seed: int = Field(default=0, ge=-(2**63), lt=2**63, description="Names all noise together with key and variant.")
    prompt: str | None = Field(default=None, description="Prompt for every record; null uses the record's own.")
    negative_prompt: str = Field(default="", description="Prompt of the unconditional row.")


class EngineSpec(_Section):
    """The stream batch. Slots and threads decide bits, so they belong to the digest."""

    slots: int = Field(default=16, ge=1, description="UNet rows per tick.")
    control_slots: int | None = Field(
        default=None, ge=1, description="Control net rows per tick; null: one per record that fits into the slots."
    )
    threads: int = Field(default=1, ge=1, description="CPU threads per process.")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        default="auto", description="Precision of the networks; auto: float32 on CPU, float16 on GPU."
    )
    fill: Literal["auto", "continuous", "unit"] = Field(
        default="auto",
        description="continuous: units share the engine; unit: one after the other; auto: unit on GPU.",
    )
    compile: bool = Field(default=False, description="torch.compile the UNet.")


class PipelineSpec(_Section):
    """How work is spread; decides no bytes except through samples_per_shard, which cuts units."""

    actors: int = Field(default=1, ge=1, description="Ray actors, each with its own models.")
    samples_per_shard: int = Field(default=64, ge=1, description="Largest number of samples per output shard.")
    stall_seconds: float = Field(
        default=30.0, ge=5, description="An actor silent for so long, or without a tick, is killed and starts again."
    )


class QualitySpec(_Section):
    """What a build tolerates."""

    gate: Literal[False] = Field(default=False, description="Reject generated samples by fidelity.")
    max_rejected: float = Field(default=0.05, ge=0, le=1, description="Largest rejected share with exit code 0.")


class BuildSpec(_Section):
    """One dataset build."""

    source: SourceSpec = SourceSpec()
    output: OutputSpec = OutputSpec()
    model: ModelSpec = ModelSpec()
    conditions: ConditionsSpec = ConditionsSpec()
    sampling: SamplingSpec = SamplingSpec()
    engine: EngineSpec = EngineSpec()
    pipeline: PipelineSpec = PipelineSpec()
    quality: QualitySpec = QualitySpec()

    @model_validator(mode="after")
    def _fits_slots(self) -> BuildSpec:
        rows = 1 if self.sampling.guidance_scale == 1.0 else 2
        if rows > self.engine.slots:
            raise ValueError(f"engine.slots {self.engine.slots}: guidance needs {rows} rows per picture")
        return self

    def deciding(self) -> dict[str, Any]:
        """The part that decides the dataset's bytes, as plain values."""
        values = self.model_dump(mode="json")
        values["source"].pop("path")
        values["output"].pop("path")
        values["quality"].pop("max_rejected")
        values["pipeline"] = {"samples_per_shard": self.pipeline.samples_per_shard}
        values["engine"].pop("fill")
        return values

    def digest(self) -> str:
        """sha256 of the deciding part."""
        return hashlib.sha256(json.dumps(self.deciding(), sort_keys=True).encode()).hexdigest()

    @property
    def control_slots(self) -> int:
        """Control slots of the engine: variants of a record share one, each row of guidance has its own."""
        if self.engine.control_slots is not None:
            return self.engine.control_slots
        per_canvas = 1 if self.sampling.guidance_scale == 1.0 else 2
        records = max(1, self.engine.slots // (per_canvas * min(self.sampling.variants, self.engine.slots)))
        return per_canvas * records


def read_spec(path: str | Path, overrides: Sequence[str] = ()) -> BuildSpec:
    """Read a build spec.

    Args:
        path: YAML file.
        overrides: ``a.b=value`` texts that replace single keys; values are YAML.

    Raises:
        SpecError: If the file or an override is wrong; the message names every wrong key.
    """
    try:
        values = yaml.safe_load(Path(path).read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise SpecError(f"{path}: {error}") from error
    if not isinstance(values, dict):
        raise SpecError(f"{path}: found a YAML {type(values).__name__}, expected sections like 'source:'")
    for override in overrides:
        _apply(values, override)
    try:
        return BuildSpec.model_validate(values)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])) or 'spec'}: {e['msg']}, found {e['input']!r}" for e in error.errors()]
        raise SpecError(f"{path}:\n  " + "\n  ".join(lines)) from error


def preview_spec(spec: BuildSpec, limit: int, *, beside: bool) -> BuildSpec:
    """The first records of a build; pictures are those that the build will have.

    Args:
        spec: The build.
        limit: How many records.
        beside: Put them beside the build's output, where they would stand in the way of the build itself.
    """
    source = spec.source.model_copy(update={"limit": limit})
    path = f"{spec.output.path.rstrip('/')}-preview-{limit}/" if beside else spec.output.path
    output = spec.output.model_copy(update={"path": path})
    return spec.model_copy(update={"source": source, "output": output})


def spec_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Every key whose value differs, as ``a.b: old -> new``."""
    before, after = dict(_flat(old)), dict(_flat(new))
    return [
        f"{key}: {before.get(key, '(absent)')!r} -> {after.get(key, '(absent)')!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def _apply(values: dict[str, Any], override: str) -> None:
    path, found, text = override.partition("=")
    if not found:
        raise SpecError(f"--set {override}: expected section.key=value")
    *sections, key = path.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise SpecError(f"--set {override}: {section} is no section")
    values[key] = yaml.safe_load(text)


_LEAF: Final = (str, int, float, bool, type(None), list, tuple)


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, _LEAF):
            flat.append((prefix + key, value))
        else:
            flat += _flat(value, f"{prefix}{key}.") or [(prefix + key, {})]
    return flat
