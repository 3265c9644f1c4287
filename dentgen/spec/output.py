"""Where the dataset goes, and how its images are stored."""

from __future__ import annotations

from pydantic import Field

from dentgen.records import ImageFormat
from dentgen.spec.section import Place, Section


class OutputSpec(Section):
    """Where the dataset goes."""

    path: Place = Field(default="out/", min_length=1, description="Folder or any fsspec URL.")
    image_format: ImageFormat = Field(
        default="png", description="Format of generated images; label maps are always PNG."
    )
    png_level: int = Field(
        default=6, ge=0, le=9, description="zlib level of PNG files: 0 none, 1 fast, 9 small; pixels are the same."
    )
