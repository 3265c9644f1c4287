"""dentgen: synthetic dental images with labels that are right by construction.

Start reading at ``dentgen/generation/unit.py``.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dentgen.generation.pipeline import Pipeline
    from dentgen.generation.pipeline_request import PipelineRequest
    from dentgen.models.bundle import load_bundle
    from dentgen.pipeline.run import build
    from dentgen.shards.dataset import open_dataset
    from dentgen.spec.build import BuildSpec

__all__ = ["BuildSpec", "Pipeline", "PipelineRequest", "build", "load_bundle", "open_dataset"]
__version__ = version("dentgen")

_HOMES: Final = {
    "BuildSpec": "dentgen.spec.build",
    "Pipeline": "dentgen.generation.pipeline",
    "PipelineRequest": "dentgen.generation.pipeline_request",
    "build": "dentgen.pipeline.run",
    "load_bundle": "dentgen.models.bundle",
    "open_dataset": "dentgen.shards.dataset",
}


def __getattr__(name: str) -> Any:
    """Import on first use: ``dentgen status`` need not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dentgen' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return [*__all__, "__version__"]
