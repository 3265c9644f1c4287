"""How an image is sampled: solver, steps, start, windows, guidance, seeds, prompts."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from dentgen.records import COMPOSITE_MEDIA, TRAINED_ALGORITHMIC_MEDIA
from dentgen.spec.findings import checked_tooth
from dentgen.spec.section import ClassName, Section

SchedulerName = Literal[
    "unipc", "lcm", "ddim", "ddpm", "dpmpp_2m", "dpmpp_2m_karras", "euler", "euler_ancestral", "pndm", "heun"
]
#: Edge of a latent, pixels, in Stable Diffusion's autoencoder: windows lie on this grid.
CELL: Final = 8
#: What ``repaint`` calls the painted regions of a record.
PAINTED: Final = "painted"
#: Share of the steps that enlarged pictures go through, unless the spec says otherwise.
UPSCALE_STRENGTH: Final = 0.3


class SamplingSpec(Section):
    """Diffusion sampling."""

    scheduler: SchedulerName | dict[str, Any] = Field(
        default="unipc", description="Solver: a name, or a diffusers scheduler config with its _class_name."
    )
    scheduler_options: dict[str, Any] = Field(
        default={}, description="Overrides of the scheduler's config, such as solver_order: 3."
    )
    steps: int = Field(default=4, ge=1, le=1000, description="Denoising steps (UNet calls) per image.")
    timesteps: tuple[int, ...] | None = Field(
        default=None,
        min_length=1,
        description="Explicit training timesteps, one per step; null: the scheduler's own.",
    )
    start_from: Literal["noise", "photo", "reference"] = Field(
        default="noise",
        description="photo: image-to-image from each record's photo member. reference: beside it, on a canvas of two "
        "frames whose left one keeps the photo and its maps, for a LoRA of the recipe two-frame.",
    )
    strength: float = Field(
        default=1.0, gt=0, le=1, description="Fraction of the steps applied to a photo; 1 keeps nothing of it."
    )
    upscale: Literal[2, 4] | None = Field(
        default=None,
        description="Image-to-image at this multiple of the size of the source's pictures: sets conditions.size, "
        "start_from, strength 0.3 and window (the bundle's own size), unless the spec names them; null: off.",
    )
    repaint: tuple[ClassName | Literal["painted"] | Annotated[int, AfterValidator(checked_tooth)], ...] = Field(
        default=(),
        description="Inpainting: segmentation classes and teeth, by FDI number, to repaint in the photo, and painted: "
        "wherever the record has painted regions; the rest is kept.",
    )
    paste_border: int | None = Field(
        default=None,
        ge=0,
        le=256,
        description="Repainted parts are pasted into the photo, which keeps its own levels exactly beyond this many "
        "pixels around them; null: the whole picture is decoded.",
    )
    window: int | None = Field(
        default=None,
        ge=64,
        le=4096,
        multiple_of=64,
        description="Edge, pixels, of what the UNet sees at once: larger pictures are covered by overlapping windows "
        "whose weights sum to one; null: whole pictures.",
    )
    window_overlap: float = Field(
        default=0.5, ge=0, le=0.9, description="Least share of a window's edge that its neighbour has too."
    )
    guidance_scale: float = Field(default=1.0, ge=0, description="Classifier-free guidance; 1 is none.")
    guidance: Literal["full", "self", "initialize"] = Field(
        default="full",
        description="full: a second UNet row with the negative prompt; self, initialize: residual guidance without a "
        "second row, or with one at the first step only, for scales up to about 1.4.",
    )
    guidance_delta: float = Field(default=1.0, ge=0, description="Factor on the noise of residual guidance.")
    variants: int = Field(default=4, ge=1, le=1000, description="Images per record, each with its own noise.")
    seed: int = Field(
        default=0,
        ge=-(2**63),
        lt=2**63,
        description="Seed; with the record's key and the variant it decides all noise.",
    )
    noise: Literal["record", "series", "motion"] = Field(
        default="record",
        description="Whose noise a picture has. record: its own; series: that of its series, the same in all frames; "
        "motion: that of its series, moved with the surface by each frame's motion maps.",
    )
    prompt: str | None = Field(default=None, description="Prompt for every record; null uses the record's own.")
    negative_prompt: str = Field(default="", description="Prompt of the unconditional row.")
    long_prompts: Literal["error", "truncate", "chunk"] = Field(
        default="error",
        description="Prompts over 75 tokens: rejected, truncated (recorded), or encoded in windows of 75.",
    )
    prompt_chunks: int = Field(default=2, ge=1, le=16, description="Number of windows of long_prompts: chunk.")
    prompt_to: str | None = Field(
        default=None,
        description="Interpolate the prompt over the variants towards this one, which the last variant has.",
    )
    seed_to: int | None = Field(
        default=None, ge=-(2**63), lt=2**63, description="Interpolate the noise over the variants towards this seed's."
    )
    interpolation: Literal["lerp", "slerp"] = Field(
        default="slerp", description="Interpolation of prompt embeddings; noise always uses slerp."
    )

    @property
    def repaint_teeth(self) -> tuple[int, ...]:
        """Teeth to repaint."""
        return tuple(each for each in self.repaint if isinstance(each, int))

    @property
    def repaint_classes(self) -> tuple[str, ...]:
        """Segmentation classes to repaint."""
        return tuple(each for each in self.repaint if isinstance(each, str) and each != PAINTED)

    @property
    def scheduler_name(self) -> str:
        """For metadata: the name, or the class of a config."""
        return self.scheduler if isinstance(self.scheduler, str) else str(self.scheduler.get("_class_name", ""))

    @property
    def needs_photo(self) -> bool:
        """Whether every record must have a photo."""
        return self.start_from != "noise"

    @property
    def frames(self) -> int:
        """Frames side by side on a canvas; the last one is the picture."""
        return 2 if self.start_from == "reference" else 1

    @property
    def interpolates(self) -> bool:
        """Whether variants interpolate between two prompts or seeds."""
        return self.prompt_to is not None or self.seed_to is not None

    @property
    def synthetic(self) -> bool:
        """Whether no photograph goes into the images."""
        return self.start_from == "noise"

    @property
    def source_type(self) -> str:
        """IPTC term for the images: those that start from a photograph may keep parts of it."""
        return TRAINED_ALGORITHMIC_MEDIA if self.synthetic else COMPOSITE_MEDIA

    @property
    def first_rows(self) -> int:
        """UNet rows of a canvas at its first step, its maximum."""
        return 2 if self.guidance_scale != 1.0 and self.guidance != "self" else 1

    @model_validator(mode="before")
    @classmethod
    def _upscaled(cls, values: Any) -> Any:
        """What upscale sets, where the spec does not name it."""
        if isinstance(values, dict) and values.get("upscale") is not None:
            return {"start_from": "photo", "strength": UPSCALE_STRENGTH, **values}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> SamplingSpec:
        if self.upscale is not None and self.start_from != "photo":
            raise ValueError(f"start_from is {self.start_from}, expected photo, because upscale enlarges pictures")
        if self.timesteps is not None and len(self.timesteps) != self.steps:
            raise ValueError(f"steps is {self.steps}, but timesteps names {len(self.timesteps)}")
        if self.start_from == "noise" and (self.strength != 1.0 or self.repaint):
            raise ValueError("strength and repaint need start_from: photo")
        if self.start_from == "reference" and (self.strength != 1.0 or self.repaint or self.window is not None):
            raise ValueError(
                "start_from reference keeps the photo beside the picture, without strength, repaint, window"
            )
        if self.noise == "motion" and self.start_from == "reference":
            raise ValueError("noise: found motion with start_from reference, expected record or series")
        if self.paste_border is not None and not self.repaint:
            raise ValueError("paste_border is read with repaint")
        if self.negative_prompt and self.first_rows == 1:
            raise ValueError("negative_prompt is read with guidance_scale other than 1, and guidance other than self")
        return self
