"""What a run reads of its bundle and leaves as it is: beside other weights, what it has learnt is worth nothing.

So a checkpoint knows what it was learnt beside. Refuses to know how parts are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dentgen.models.bundle import parts_digest
from dentgen.models.parts import ADAPTERS, CONTROLNET
from dentgen.spec.train import TrainSpec

_TEXT_TO_IMAGE: Final = ("vae", "tokenizer", "text_encoder", "unet")


class FrozenParts:
    """Digests of a bundle's frozen parts, as a part of a checkpoint."""

    def __init__(self, spec: TrainSpec) -> None:
        """Read them: once a run, as long as the loading of them takes."""
        self._bundle = Path(spec.bundle)
        self._digests = {part: parts_digest(self._bundle, [part]) for part in frozen_parts(spec)}

    def state_dict(self) -> dict[str, str]:
        """sha256 by part."""
        return self._digests

    def load_state_dict(self, state: Mapping[str, str]) -> None:
        """Compare with those of a checkpoint.

        Raises:
            ValueError: If a part is not what the checkpoint was learnt beside.
        """
        changed = [part for part, digest in self._digests.items() if state.get(part) != digest]
        if changed:
            raise ValueError(f"{self._bundle} has changed since, in {', '.join(changed)}")


def frozen_parts(spec: TrainSpec) -> tuple[str, ...]:
    """Names of the bundle's parts that a recipe reads and does not write."""
    match spec.recipe:
        case "autoencoder":
            return ()
        case "text-to-image" | "base":
            return ("vae",)
        case "adapter":
            return (*_TEXT_TO_IMAGE, CONTROLNET)
        case "decoder" if not spec.generated:
            return ("vae",) if spec.decoder == "tiny" else ()
        case "decoder" | "lcm-lora":
            return (*_TEXT_TO_IMAGE, CONTROLNET, f"{ADAPTERS}/{spec.control}")
        case _:
            return _TEXT_TO_IMAGE
