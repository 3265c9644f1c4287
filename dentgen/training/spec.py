"""TrainSpec: everything that decides a training run, one YAML file. Refuses to know how a recipe works."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from dentgen.errors import SpecError

RecipeName = Literal["autoencoder", "base", "adapter"]


class TrainSpec(BaseModel):
    """One training run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: RecipeName
    data: str = Field(description="Condition shards with a photo member.")
    split: str = Field(default="train", description="Split to train on.")
    bundle: str = Field(description="Bundle folder that the run reads from and writes its part to.")
    start: str = Field(
        default="",
        description="Bundle whose weights a recipe starts from ('miniature': the embedded one); empty: fresh ones.",
    )
    checkpoints: str = Field(description="Folder for the checkpoint and the loss log.")
    size: int = 128
    steps: int = Field(gt=0)
    batch: int = Field(default=16, gt=0)
    learning_rate: float = Field(default=4e-4, gt=0)
    warmup: int = 100
    weight_decay: float = 0.01
    clip: float = Field(default=1.0, description="Largest gradient norm.")
    ema: float = Field(default=0.999, description="Decay of the averaged weights that are exported.")
    seed: int = 0
    checkpoint_seconds: float = Field(default=300.0, description="Time between checkpoints.")
    tooth_weight: float = Field(default=1.0, description="Weight of teeth in the diffusion loss; 1 is plain MSE.")
    rank: int = Field(default=16, description="LoRA rank of an adapter.")
    adapter: str = Field(default="blended", description="Name of the adapter that is trained.")
    alpha: float = Field(default=0.3, description="Share of segmentation colours in a blended control image.")
    channels_last: bool = False


def read_train_spec(path: Path, overrides: tuple[str, ...] = ()) -> TrainSpec:
    """Read a training spec; ``overrides`` are ``key=value`` texts, values in YAML.

    Raises:
        SpecError: If the file or an override is wrong.
    """
    try:
        values = yaml.safe_load(path.read_text())
        for override in overrides:
            key, _, value = override.partition("=")
            values[key] = yaml.safe_load(value)
        return TrainSpec.model_validate(values)
    except (OSError, yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise SpecError(f"{path}: {error}") from error
