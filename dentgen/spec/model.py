"""The networks of a build: bundle, control and its scales, LoRAs, decoder."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator

from dentgen import storage
from dentgen.spec.section import ClassName, Place, Section


def _known_classes(scales: dict[str, float]) -> dict[str, float]:
    if unknown := sorted(set(scales) - set(get_args(ClassName))):
        raise ValueError(f"found the classes {unknown}, expected some of {list(get_args(ClassName))}")
    return scales


#: Scale of control residuals: one for the whole picture, or one per class; classes without one have 1.
Scale = Annotated[
    Annotated[float, Tag("[one]")]
    | Annotated[dict[str, float], Field(min_length=1), AfterValidator(_known_classes), Tag("[by class]")],
    Discriminator(lambda scale: "[by class]" if isinstance(scale, dict) else "[one]"),  # one fault, not one per kind
]


class ModelSpec(Section):
    """The model."""

    bundle: Place = Field(
        default="miniature", description="The embedded miniature, a bundle folder or URL, or a hub id."
    )
    adapters: dict[str, Scale] = Field(
        default={"blended": 1.0},
        description="ctrLoRA adapters and the scales of their residuals, one or by class, as {tooth: 1.5, background: "
        "0.5}; {} uses the bare base.",
    )
    controlnets: dict[str, Scale] = Field(
        default={},
        description="Full ControlNets of the bundle's folder controlnets/ and their residuals' scales.",
    )
    loras: dict[str, float] = Field(
        default={},
        description="LoRAs of the bundle's folder loras/ and their scales; fused into UNet and text encoder.",
    )
    embeddings: tuple[str, ...] = Field(
        default=(), description="Textual inversions of the bundle's folder embeddings/; prompts use NAME as <NAME>."
    )
    decoder: Literal["kl", "tiny"] = Field(
        default="kl", description="Decoder of the latents: the autoencoder's own, or a distilled one."
    )
    decode_tile: int | None = Field(
        default=None, ge=64, multiple_of=8, description="Decode in tiles of this edge, pixels; null: whole images."
    )
    encode_tile: int | None = Field(
        default=None,
        ge=64,
        multiple_of=8,
        description="Encode control images and photos in tiles of this edge, pixels; null: whole images.",
    )

    @field_validator("bundle")
    @classmethod
    def _holds_no_signature(cls, bundle: str) -> str:
        if storage.is_remote(bundle) and "?" in bundle:  # it would end up in every sample's metadata
            raise ValueError("found a query in the URL, expected credentials in the environment")
        return bundle
