"""The demo spec and its condition shards: inside an installed package, or in ``jobs/`` of a checkout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dentgen.errors import SpecError

_PACKAGE: Final = Path(__file__).parent.parent
_CHECKOUT: Final = _PACKAGE.parent


def demo_spec() -> Path:
    """Find the build spec of the demo.

    Raises:
        SpecError: If it was not installed.
    """
    return _installed(_PACKAGE / "demo" / "demo.yaml", _CHECKOUT / "jobs" / "specs" / "demo.yaml")


def demo_conditions() -> Path:
    """Find the folder of the demo's condition shards.

    Raises:
        SpecError: If it was not installed.
    """
    return _installed(_PACKAGE / "demo" / "conditions", _CHECKOUT / "jobs" / "demo")


def spec_or_demo(spec: Path | None, overrides: Sequence[str] | None) -> tuple[Path, list[str]]:
    """Choose the spec file of a command, and its overrides.

    Args:
        spec: Build spec; None chooses the demo's, over the demo's condition shards wherever the command runs.
        overrides: ``a.b=value`` texts; they take precedence.
    """
    if spec is not None:
        return spec, list(overrides or ())
    return demo_spec(), [f"source.path={json.dumps(str(demo_conditions()))}", *(overrides or ())]


def _installed(*places: Path) -> Path:
    for place in places:
        if place.exists():
            return place
    raise SpecError("the demo is not part of this installation", file=str(places[0]), advice="name a spec with --spec")
