"""How the work runs: the stream engine of a process, and the actors among which units are distributed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from dentgen.spec.section import Section

Fill = Literal["auto", "continuous", "unit"]


class EngineSpec(Section):
    """The stream engine. Batch shapes and threads decide bits, so they are part of the digest."""

    slots: int = Field(default=16, ge=1, description="UNet rows per tick.")
    control_slots: int | None = Field(
        default=None, ge=1, description="Control net rows per tick; null: as many as keep the slots busy."
    )
    unet_batch: int | None = Field(
        default=None,
        ge=1,
        description="Rows per call of the UNet and of control nets; null: all slots at once. Fewer take less memory, "
        "so that a picture may have more windows.",
    )
    codec_batch: int = Field(
        default=8, ge=1, description="Images per call of the autoencoder; the engine ticks between two calls."
    )
    threads: int = Field(default=1, ge=1, description="CPU threads per process.")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        default="auto", description="Precision of the networks; auto: float32 on CPU, float16 on GPU."
    )
    fill: Fill = Field(
        default="auto",
        description="continuous: samples of several units are in the engine at once; unit: of one at a time, while "
        "other units are read, decoded and packed; auto: unit on GPU.",
    )
    compile: bool = Field(default=False, description="torch.compile the UNet, control nets and decoder.")
    cuda_graph: bool = Field(default=False, description="Capture the tick as a CUDA graph; GPU only.")


class ActorRange(Section):
    """Limits of a number of actors that follows the size of the cluster."""

    min: int = Field(
        default=1, ge=1, description="Actors asked of the cluster, even where it has no room for them yet."
    )
    max: int = Field(ge=1, description="Most actors; those above min start as soon as a node has room for them.")

    @model_validator(mode="after")
    def _ordered(self) -> ActorRange:
        if self.max < self.min:
            raise ValueError(f"found min {self.min} and max {self.max}, expected max to be at least min")
        return self


def _is_range(value: object) -> str:
    return "[min, max]" if isinstance(value, Mapping | ActorRange) else "[number]"


def _reservable(gpus: float | None) -> float | None:
    """Ray reserves GPUs in parts of one, in ten-thousandths, or as whole ones."""
    if gpus is not None and gpus > 1 and gpus != int(gpus):
        raise ValueError(f"found {gpus}, expected at most 1, or a whole number")
    if gpus is not None and 0 < gpus < 1e-4:
        raise ValueError(f"found {gpus}, expected 0, or at least 0.0001")
    return gpus


class PipelineSpec(Section):
    """Distribution of the work; only samples_per_shard, which cuts units, decides bytes."""

    actors: Annotated[
        Annotated[int, Field(ge=1), Tag("[number]")] | Annotated[ActorRange, Tag("[min, max]")],
        Discriminator(_is_range),
    ] = Field(
        default=1,
        description="Ray actors, each with its own models: a number (Ray Data), or {min: 1, max: 64} (a pool that "
        "follows the nodes of a cluster).",
    )
    gpus_per_actor: Annotated[float | None, AfterValidator(_reservable)] = Field(
        default=None,
        ge=0,
        description="GPUs that an actor reserves; 0.5: two actors share one. null: 1 on a GPU, 0 without one.",
    )
    samples_per_shard: int = Field(
        default=64,
        ge=1,
        description="Maximum samples per output shard; a record with more variants gets its own.",
    )
    packers: int | None = Field(
        default=None,
        ge=1,
        description="Threads per actor that encode and pack samples; null: on GPU one fewer than the CPUs, at most 8, "
        "otherwise 1.",
    )
    stall_seconds: float = Field(
        default=30.0, ge=5, description="An actor without heartbeat or engine progress for this long is restarted."
    )
    lease_seconds: float = Field(
        default=60.0, ge=1, description="A build's lease goes stale after this time without a renewal."
    )
    environment: Literal["refuse", "warn"] = Field(
        default="refuse",
        description="Resuming with other library versions or another device kind: refused, or with a warning.",
    )

    @property
    def fewest_actors(self) -> int:
        """Actors asked of the cluster, whatever room it has."""
        return self.actors.min if isinstance(self.actors, ActorRange) else self.actors

    @property
    def most_actors(self) -> int:
        """Actors at most."""
        return self.actors.max if isinstance(self.actors, ActorRange) else self.actors
