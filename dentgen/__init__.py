"""dentgen: synthetic dental images with labels that are right by construction.

Start reading at ``generate.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dentgen.models.bundle import load_bundle
    from dentgen.pipeline.run import build
    from dentgen.shards.dataset import open_dataset
    from dentgen.spec.build import BuildSpec

__all__ = ["BuildSpec", "build", "load_bundle", "open_dataset"]


def __getattr__(name: str) -> Any:
    """Import on first use: ``dentgen status`` need not wait for torch."""
    match name:
        case "BuildSpec":
            from dentgen.spec.build import BuildSpec

            return BuildSpec
        case "build":
            from dentgen.pipeline.run import build

            return build
        case "load_bundle":
            from dentgen.models.bundle import load_bundle

            return load_bundle
        case "open_dataset":
            from dentgen.shards.dataset import open_dataset

            return open_dataset
        case _:
            raise AttributeError(name)
