"""TrainSpec: everything that decides a training run, one YAML file. Refuses to know how a recipe works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dentgen.spec.yaml_file import read_document

RecipeName = Literal[
    "autoencoder",
    "text-to-image",
    "base",
    "control-base",
    "adapter",
    "controlnet",
    "control-lora",
    "lcm-lora",
    "decoder",
]
#: What a control image shows: one condition, or segmentation colours over lighting. ``blended-teeth`` has light on
#: teeth only, as maps rendered from tooth scans do.
ControlKind = Literal["segmentation", "lighting", "normal", "curvature", "depth", "blended", "blended-teeth"]
CONTROL_KINDS: Final[tuple[ControlKind, ...]] = get_args(ControlKind)
SINGLE_KINDS: Final[tuple[ControlKind, ...]] = ("segmentation", "lighting", "normal", "curvature")

_CONTROLS: Final[tuple[RecipeName, ...]] = ("adapter", "controlnet", "control-lora")
_BASES: Final[tuple[RecipeName, ...]] = ("text-to-image", "base", "control-base")
#: Who reads what not all read. Others refuse it: a setting that does nothing is a setting misunderstood.
_READERS: Final[Mapping[str, tuple[RecipeName, ...]]] = {
    "start": ("autoencoder", *_BASES, "decoder"),
    "align": ("autoencoder",),
    "cache_latents": (*_BASES, *_CONTROLS, "lcm-lora", "decoder"),
    "channels_last": ("autoencoder", "decoder"),
    "loss": ("autoencoder", *_BASES, *_CONTROLS),
    "conditions": ("base", "control-base"),
    "condition": (*_CONTROLS, "lcm-lora", "decoder"),
    "bare_teeth": ("adapter",),
    "rank": ("control-base", "adapter", "control-lora", "lcm-lora"),
    "name": (*_CONTROLS, "lcm-lora"),
    "control": ("lcm-lora", "decoder"),
    "guidance": ("lcm-lora",),
    "ladder": ("lcm-lora",),
    "control_scale": ("decoder",),
    **dict.fromkeys(("decoder", "decoder_width", "decoder_blocks", "adversarial", "generated", "distil"), ("decoder",)),
    "detail": ("decoder", "autoencoder"),
}

#: Timesteps of Stable Diffusion's noise schedule.
TRAIN_STEPS: Final = 1000

_MODEL: Final = ConfigDict(extra="forbid", frozen=True)


class LossSpec(BaseModel):
    """How much every pixel of the segmentation weighs in the diffusion loss; all ones changes nothing.

    An autoencoder's L1 is weighed likewise, beside its unweighed one.
    """

    model_config = _MODEL

    background: float = Field(default=1.0, ge=0)
    gingiva: float = Field(default=1.0, ge=0)
    tooth: float = Field(default=1.0, ge=0, description="The users found 5.0 right: 2 is too weak, 8 rings.")
    boundary: float = Field(default=0.0, ge=0, description="Added within the band around tooth boundaries.")
    boundary_pixels: int = Field(default=2, gt=0, description="Half width of that band, pixels of the picture.")
    reduce: Literal["area", "bilinear"] = Field(default="area", description="How weights get the latents' size.")
    normalise: Literal["none", "sample", "batch"] = Field(default="sample", description="What has mean weight 1.")
    floor: float = Field(default=0.0, ge=0, description="Least weight.")
    snr_floor: float = Field(
        default=0.0, ge=0, le=5, description="Least weight of a picture's error at high noise, where SNR is near 0."
    )

    @property
    def is_plain(self) -> bool:
        """Whether every pixel weighs 1."""
        return self.background == self.gingiva == self.tooth == 1 and not self.boundary


class TrainSpec(BaseModel):
    """One training run."""

    model_config = _MODEL

    recipe: RecipeName
    data: str = Field(description="Condition shards with a photo member: a folder or any fsspec URL.")
    split: str = Field(default="train", description="Split to train on; '' takes all.")
    bundle: str = Field(description="Bundle folder that the run reads from and writes its part to.")
    start: str = Field(
        default="",
        description="Bundle whose weights a recipe starts from ('miniature': the embedded one); empty: fresh ones.",
    )
    align: str = Field(
        default="",
        description="autoencoder: bundle whose latents the encoder stays near, so that networks trained on them go on.",
    )
    checkpoints: str = Field(description="Folder, local or any fsspec URL, for checkpoint, losses and previews.")
    size: int = Field(default=128, gt=0)
    stream: bool = Field(default=False, description="Read records from the shards all along, instead of keeping them.")
    cache_latents: bool = Field(default=True, description="Encode every picture once and keep its latents.")

    steps: int = Field(gt=0)
    batch: int = Field(default=16, gt=0, description="Rows of one step, over all workers.")
    accumulate: int = Field(default=1, gt=0, description="Parts in which a worker computes its rows of a step.")
    workers: int = Field(default=0, ge=0, description="Ray Train workers; 0 trains in this process.")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = Field(default="fp32", description="Of autocast; weights stay fp32.")
    threads: int = Field(default=0, ge=0, description="CPU threads per worker; 0 leaves torch its choice.")

    learning_rate: float = Field(default=4e-4, gt=0)
    warmup: int = Field(default=100, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float = Field(default=1.0, gt=0, description="Largest gradient norm.")
    ema: float = Field(default=0.999, ge=0, lt=1, description="Decay of the averaged weights that are exported.")
    seed: int = 0
    channels_last: bool = False

    checkpoint_seconds: float = Field(default=300.0, ge=0, description="Time between checkpoints.")
    log_steps: int = Field(default=50, gt=0, description="Steps whose mean losses make one line of the log.")
    validate_steps: int = Field(default=0, ge=0, description="Steps between previews and validation losses; 0: none.")
    validate_split: str = "validation"
    validate_records: int = Field(default=8, gt=0)
    tensorboard: str = Field(default="", description="Folder for TensorBoard's events; empty: none.")

    loss: LossSpec = LossSpec()
    conditions: tuple[ControlKind, ...] = Field(
        default=SINGLE_KINDS, min_length=1, description="Tasks of a control base; 'condition' is a single one's."
    )
    condition: ControlKind = Field(default="blended", description="What the trained adapter or ControlNet is shown.")
    bare_teeth: float = Field(
        default=0.2, ge=0, le=1, description="Share of blended rows that have light on the teeth only."
    )
    alpha: float = Field(default=0.3, ge=0, le=1, description="Share of segmentation colours in a blended image.")
    rank: int = Field(default=16, gt=0, description="LoRA rank of what is trained.")
    name: str = Field(default="", description="Name of the part in the bundle; empty: the condition's.")
    control: str = Field(
        default="", description="lcm-lora, decoder: adapter that what the bundle generates is controlled by."
    )
    control_scale: float = Field(default=1.0, gt=0, description="decoder: scale of 'control' while it generates.")
    guidance: tuple[float, float] = Field(default=(5.0, 15.0), description="lcm-lora: range of the teacher's guidance.")
    ladder: int = Field(default=50, gt=0, le=1000, description="lcm-lora: timesteps of the teacher's DDIM solver.")
    decoder: Literal["kl", "tiny"] = Field(default="tiny", description="decoder: which one is trained.")
    decoder_width: int = Field(default=16, gt=0, description="decoder: channels of a tiny one.")
    decoder_blocks: tuple[int, ...] = Field(
        default=(1, 1, 1, 1), description="decoder: blocks per level, from latents."
    )
    adversarial: float = Field(default=0.0, ge=0, description="decoder: weight of the adversarial term.")
    generated: float = Field(
        default=0.0, ge=0, le=1,
        description="decoder: share of records whose latents the bundle generates under 'control', not the encoder.",
    )  # fmt: skip
    distil: bool = Field(default=True, description="decoder: learn the KL decoder's pictures, not the photographs.")
    detail: bool = Field(
        default=True,
        description="decoder, autoencoder: boundary terms; a decoder without lacks differences and texture too.",
    )

    @property
    def distils(self) -> bool:
        """Whether a decoder learns the KL decoder's pictures."""
        return self.distil and self.decoder == "tiny"

    @property
    def part(self) -> str:
        """Name under which the trained part stands in the bundle."""
        return self.name or self.condition

    @property
    def control_kinds(self) -> tuple[ControlKind, ...]:
        """Control images that this run's rows need."""
        match self.recipe:
            case "text-to-image":
                return ()
            case "decoder":
                return (self.condition,) if self.generated else ()
            case "autoencoder":
                return (*SINGLE_KINDS, "blended", "blended-teeth")
            case "base" | "control-base":
                return self.conditions
            case "adapter" if self.condition == "blended":
                return ("blended", "blended-teeth")
            case _:
                return (self.condition,)

    @model_validator(mode="after")
    def _check(self) -> Self:
        parts = max(self.workers, 1) * self.accumulate
        if self.batch % parts:
            raise ValueError(f"batch: found {self.batch}, expected a multiple of workers x accumulate = {parts}")
        if self.recipe == "lcm-lora" and not self.control:
            raise ValueError("control: found none, expected the adapter that an LCM-LoRA is distilled with")
        if self.generated and (not self.control or not self.distils):
            raise ValueError("generated: expected the adapter 'control' and a tiny decoder that distils")
        self._check_readers()
        self._check_values()
        return self

    def _check_readers(self) -> None:
        for name, readers in _READERS.items():
            found, default = getattr(self, name), type(self).model_fields[name].default
            if self.recipe not in readers and found != default:
                raise ValueError(f"{name}: found {found!r}, expected nothing: recipe {self.recipe} does not read it")
        if self.decoder == "kl" and self.start:
            raise ValueError(f"start: found {self.start}, expected nothing: a KL decoder goes on from its own bundle's")

    def _check_values(self) -> None:
        if TRAIN_STEPS % self.ladder:
            raise ValueError(f"ladder: found {self.ladder}, expected a divisor of {TRAIN_STEPS}: samplers begin there")
        if self.guidance[0] > self.guidance[1]:
            raise ValueError(f"guidance: found {list(self.guidance)}, expected the lower end first")
        if "://" in self.bundle:
            raise ValueError(f"bundle: found {self.bundle}, expected a folder that all workers share")
        if self.recipe == "control-base" and len(set(self.conditions)) < len(self.conditions):
            raise ValueError(f"conditions: found {list(self.conditions)}, expected each once: a task has one LoRA")
        if self.control in CONTROL_KINDS and self.condition != self.control:
            raise ValueError(f"condition: found {self.condition!r}, expected what adapter {self.control!r} is shown")
        if self.loss.normalise == "batch" and self.accumulate > 1:
            raise ValueError("loss.normalise: found 'batch' with accumulate above 1, expected 'sample' or 'none'")


def read_train_spec(path: Path, overrides: Sequence[str] = ()) -> TrainSpec:
    """Read a training spec; ``overrides`` are ``key=value`` texts, values in YAML, ``loss.tooth=5`` for inner ones.

    Raises:
        SpecError: If the file or an override is wrong.
    """
    return read_document(TrainSpec, path, overrides)
