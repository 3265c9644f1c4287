"""The manifests of ``cluster/kuberay/``: inside an installed package, or in a checkout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import yaml

from dentgen.errors import SpecError

Manifest = dict[str, Any]

_PACKAGE: Final = Path(__file__).parent
_PLACES: Final = (_PACKAGE / "kuberay", _PACKAGE.parents[1] / "cluster" / "kuberay")


def read_manifests(name: str) -> list[Manifest]:
    """The manifests of a file, each free to be changed: anchors of the file are not shared.

    Args:
        name: Path below ``cluster/kuberay/``.

    Raises:
        SpecError: If it was not installed.
    """
    for place in _PLACES:
        if (place / name).exists():
            documents = yaml.safe_load_all((place / name).read_text())
            return [json.loads(json.dumps(document)) for document in documents]
    raise SpecError(file=str(_PLACES[0] / name), found="no such file", expected="dentgen installed with its manifests")


def read_manifest(name: str) -> Manifest:
    """The only manifest of a file."""
    (manifest,) = read_manifests(name)
    return manifest
