"""The members of a sample: extension, media type and encoding of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dentgen.conditions.labels import SEG_CLASSES
from dentgen.conditions.lesion_map import LESIONS
from dentgen.records import CONDITION_MEMBER, FDI_MEMBER, FINDING_MEMBER, MEDIA_TYPE, MOTION_MEMBERS, PAINTED_MEMBER
from dentgen.shards.plan import Plan

_CLASSES: Final = ", ".join(f"{value} {name}" for value, name in SEG_CLASSES.items())
_LESIONS: Final = ", ".join(f"{value} {name}" for value, name in LESIONS.items())
_MEANINGS: Final = {
    "seg": f"8-bit class map: {_CLASSES}; 255 everywhere where the source has none",
    FDI_MEMBER: "8-bit FDI tooth numbers (11-48 permanent, 51-85 deciduous), 0 none",
    "light": "8-bit grey lighting, 0 dark or no surface",
    "normal": "8-bit RGB normals, 127.5 n + 127.5 in camera space: x right, y up, z to the viewer",
    "lesion": f"8-bit lesion map: {_LESIONS}",
    "depth": "16-bit grey depth, linear, near bright",
    "curvature": "8-bit grey curvature, 128 flat, bright convex",
    FINDING_MEMBER: "8-bit map of findings that were asked for: number in `findings` of the spec, or of the build that "
    "this one was made from, from 1; 0 none",
    **{
        name: f"16-bit grey motion to the first frame of the series, pixels to the {way} times 64 plus 32768, 0 hidden"
        for name, way in zip(MOTION_MEMBERS, ("right", "bottom"), strict=True)
    },
    PAINTED_MEMBER: "8-bit field of painted regions: bit r is set where entry r of `painted` in the metadata lies",
}


@dataclass(frozen=True, slots=True)
class Member:
    """One member of every sample of a build.

    Attributes:
        name: Name without image format, as in ``dentgen.open_dataset``: "image", "seg", "metadata".
        extension: File name after the key: "seg.png".
        media_type: MIME type.
        meaning: Content and encoding, one phrase.
    """

    name: str
    extension: str
    media_type: str
    meaning: str

    @property
    def is_image(self) -> bool:
        """Whether it is an image file."""
        return self.media_type.startswith("image/")


def sample_members(plan: Plan) -> tuple[Member, ...]:
    """Members of every sample of a build: the picture, then label maps and conditions, then metadata."""
    image_format = plan.spec.output.image_format
    kind = {"png": "lossless", "jpg": "quality 95, no chroma subsampling", "webp": "lossless"}[image_format]
    asked = [FINDING_MEMBER] if plan.num_findings else []
    asked += [PAINTED_MEMBER] if plan.spec.regions.painted else []
    asked += MOTION_MEMBERS if plan.spec.sampling.noise == "motion" else ()
    maps = dict.fromkeys(["seg", FDI_MEMBER, *(CONDITION_MEMBER[name] for name in plan.spec.conditions.use), *asked])
    return (
        Member("image", image_format, MEDIA_TYPE[image_format], f"the synthetic picture, 8-bit RGB, {kind}"),
        *(Member(name, f"{name}.png", "image/png", _MEANINGS[name]) for name in maps),
        Member("metadata", "json", "application/json", "metadata; `spec_digest` identifies the build spec"),
    )
