"""Judges in files: segmenters as safetensors, the size that they were trained at, and figures of reference pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import load, save
from torch import Tensor, nn

from dentgen import storage
from dentgen.documents.document import Document
from dentgen.errors import BundleError, faults_of
from dentgen.models.judge_networks import DilatedSegmenter, Segmenter, judge_input, to_channels_last
from dentgen.spec.quality import EMBEDDED

CONFIG: Final = "judges.json"
REFERENCE: Final = "reference.safetensors"
NETWORKS: Final[Mapping[str, type[Segmenter | DilatedSegmenter]]] = {"unet": Segmenter, "dilated": DilatedSegmenter}

_FOLDER: Final = Path(__file__).parent / "judge_weights"
#: Larger files are no judges of this kind.
_MAX_BYTES: Final = 64 * 2**20


class JudgesConfig(Document):
    """``judges.json``."""

    size: int = Field(ge=32, le=1024, multiple_of=8, description="Edge of the images that they were trained on.")
    license: str = Field(default="", description="Licence of the weights.")


@dataclass(frozen=True, slots=True, eq=False)
class Judges:
    """Segmenters of background, gingiva and tooth.

    Attributes:
        networks: By name.
        size: Edge, pixels, of the images that they see.
        digest: sha256 of config and weights.
        device: Where they are.
    """

    networks: Mapping[str, Segmenter | DilatedSegmenter]
    size: int
    digest: str
    device: torch.device

    @torch.no_grad()
    def probabilities(self, pictures: NDArray[np.uint8], batch: int = 16) -> NDArray[np.float32]:
        """Class probabilities, the mean over all judges.

        Args:
            pictures: (n, H, W, 3) uint8, H and W multiples of 8.
            batch: Pictures at a time.

        Returns:
            (n, 3, H, W).
        """
        parts = [self._mean(judge_input(pictures[i : i + batch])) for i in range(0, len(pictures), batch)]
        return torch.cat(parts).cpu().numpy()

    def _mean(self, images: Tensor) -> Tensor:
        images = images.to(self.device)
        return torch.stack([network(images).float().softmax(1) for network in self.networks.values()]).mean(0)


def judges_folder(place: str) -> str:
    """Folder or URL of judges: ``embedded`` is that of dentgen's own."""
    return str(_FOLDER) if place == EMBEDDED else place


def judges_digest(place: str) -> str:
    """sha256 of config and weights of judges, without loading them.

    Raises:
        BundleError: If there are none.
    """
    return _digest(_files(judges_folder(place)))


def load_judges(place: str, device: str = "cpu") -> Judges:
    """Load judges.

    Args:
        place: ``embedded``, or a folder or URL with ``judges.json`` and ``unet.safetensors``, ``dilated.safetensors``
            or both.
        device: Device kind.

    Raises:
        BundleError: If there are none, or a file is damaged.
    """
    folder = judges_folder(place)
    files = _files(folder)
    config = _config(folder, files[CONFIG])
    networks = {
        name: _network(storage.join(folder, _weights(name)), NETWORKS[name], files[_weights(name)], device)
        for name in NETWORKS
        if _weights(name) in files
    }
    return Judges(networks, config.size, _digest(files), torch.device(device))


def reference_figures(place: str) -> dict[str, NDArray[np.float64]]:
    """Figures of the pictures that judges come with, (n,) each by name.

    Raises:
        BundleError: If they come with none.
    """
    url = storage.join(judges_folder(place), REFERENCE)
    content = storage.read_if_exists(url)
    if content is None:
        raise BundleError(
            file=storage.without_secrets(url), found="no file", expected="figures of reference pictures",
            advice="name pictures with labels in quality.gate.reference",
        )  # fmt: skip
    try:
        known = load_arrays(content)
    except SafetensorError as error:
        raise BundleError(file=storage.without_secrets(url), found=str(error), expected="safetensors") from error
    lengths = {len(values) if values.ndim == 1 else 0 for values in known.values()}
    if len(lengths) != 1 or 0 in lengths:
        shapes = {name: values.shape for name, values in known.items()}
        raise BundleError(
            file=storage.without_secrets(url), found=f"shapes {shapes}"[:300], expected="equally long lists of figures"
        )
    return {name: np.asarray(np.round(values.astype(np.float64), 4), np.float64) for name, values in known.items()}


def write_judge(folder: str, name: str, network: nn.Module, size: int) -> None:
    """Write one judge in half precision, and the config of its folder.

    Args:
        folder: Folder or URL.
        name: ``unet`` or ``dilated``.
        network: The network.
        size: Edge of the images that it was trained on, pixels.
    """
    weights = {key: value.detach().cpu().half().contiguous() for key, value in network.state_dict().items()}
    storage.overwrite(storage.join(folder, _weights(name)), save(weights))
    url = storage.join(folder, CONFIG)
    known = storage.read_if_exists(url)
    licensed = "" if known is None else _config(folder, known).license
    content = {"license": licensed, "size": size}
    storage.overwrite(url, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())


def write_reference(folder: str, figures: Mapping[Any, NDArray[np.float64]]) -> None:
    """Write the figures of reference pictures, (n,) each by name, to a folder of judges."""
    values = {name: np.ascontiguousarray(array, np.float32) for name, array in figures.items()}
    storage.overwrite(storage.join(folder, REFERENCE), save_arrays(values))


def _weights(name: str) -> str:
    return f"{name}.safetensors"


def _files(folder: str) -> dict[str, bytes]:
    """Config and weights by name, in the order in which they are hashed.

    Raises:
        BundleError: If there is no config or no judge, or a file is too large.
    """
    found = {}
    for name in (CONFIG, *map(_weights, NETWORKS)):
        content = storage.read_if_exists(storage.join(folder, name))
        if content is not None and len(content) > _MAX_BYTES:
            raise BundleError(
                file=storage.without_secrets(storage.join(folder, name)), found=f"{len(content)} bytes",
                expected=f"at most {_MAX_BYTES}",
            )  # fmt: skip
        if content is not None:
            found[name] = content
    if CONFIG not in found or len(found) == 1:
        names = f"{CONFIG} and {' or '.join(map(_weights, NETWORKS))}"
        raise BundleError(
            file=storage.without_secrets(folder), found=", ".join(found) or "no judges", expected=names,
            advice="'dentgen train' with recipe: judge makes them",
        )  # fmt: skip
    return found


def _config(folder: str, content: bytes) -> JudgesConfig:
    try:
        return JudgesConfig.model_validate_json(content)
    except ValidationError as error:
        file = storage.without_secrets(storage.join(folder, CONFIG))
        raise BundleError(f"not a config of judges: {faults_of(error)}", file=file) from error


def _network(
    url: str, kind: type[Segmenter | DilatedSegmenter], content: bytes, device: str
) -> Segmenter | DilatedSegmenter:
    network = kind()
    try:
        network.load_state_dict({key: value.float() for key, value in load(content).items()})
    except (SafetensorError, RuntimeError) as error:
        raise BundleError(
            file=storage.without_secrets(url), found=str(error)[:300], expected=f"weights of a {kind.__name__}"
        ) from error
    return to_channels_last(network).eval().to(device)


def _digest(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name}:{len(content)}:".encode() + content)
    return digest.hexdigest()
