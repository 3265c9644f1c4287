"""Digests of the bundle parts that a run reads but does not train; a checkpoint is valid only with the same parts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dentgen.errors import SpecError
from dentgen.models.bundle import find_bundle, parts_digest
from dentgen.models.judges import judges_digest
from dentgen.models.parts import ADAPTERS, CONTROLNET, LORAS, TINY_DECODER
from dentgen.spec.train import TrainSpec
from dentgen.spec.train_recipes import (
    AdapterSpec,
    AutoencoderSpec,
    BaseSpec,
    KlDecoderSpec,
    TextToImageSpec,
    TinyDecoderSpec,
    TwoFrameSpec,
)
from dentgen.spec.train_reward import RewardSpec
from dentgen.spec.train_students import (
    DmdLoraSpec,
    LcmLoraSpec,
    NoiseConsistencySpec,
    PhasedLoraSpec,
    PrunedUnetSpec,
)

_TEXT_TO_IMAGE: Final = ("vae", "tokenizer", "text_encoder", "unet")


class FrozenParts:
    """sha256 of each frozen part, stored in the checkpoint and compared on resume."""

    def __init__(self, spec: TrainSpec) -> None:
        """Hash the parts; takes about as long as loading them."""
        self._bundle = Path(spec.bundle)
        self._digests = {part: parts_digest(self._bundle, [part]) for part in frozen_parts(spec)}
        if isinstance(spec, PrunedUnetSpec):
            self._digests["teacher"] = parts_digest(find_bundle(spec.teacher), ["unet"])
        if isinstance(spec, RewardSpec | NoiseConsistencySpec):
            self._digests["judges"] = judges_digest(spec.judges)

    def state_dict(self) -> dict[str, str]:
        """sha256 by part."""
        return self._digests

    def load_state_dict(self, state: Mapping[str, str]) -> None:
        """Compare with the digests of a checkpoint.

        Raises:
            SpecError: If a part differs from the one that the checkpoint was trained with.
        """
        changed = [part for part, digest in self._digests.items() if state.get(part) != digest]
        if changed:
            raise SpecError(
                "changed since the checkpoint was written",
                file=str(self._bundle),
                key=", ".join(changed),
                advice="restore it, or start a new run with another 'checkpoints' folder",
            )


def frozen_parts(spec: TrainSpec) -> tuple[str, ...]:
    """Names of the bundle parts that a recipe reads and does not write."""
    match spec:
        case AutoencoderSpec() | KlDecoderSpec():
            return ()
        case TextToImageSpec() | BaseSpec():
            return ("vae",)
        case AdapterSpec():
            return (*_TEXT_TO_IMAGE, CONTROLNET)
        case RewardSpec():
            tiny = (TINY_DECODER,) if spec.reward_decoder == "tiny" else ()
            return (*_TEXT_TO_IMAGE, CONTROLNET, f"{ADAPTERS}/{spec.adapter}", *tiny)
        case TinyDecoderSpec() if not spec.generated:
            return ("vae",)
        case TinyDecoderSpec() | LcmLoraSpec() | PhasedLoraSpec() | TwoFrameSpec():
            return _controlled(spec.adapter)
        case DmdLoraSpec():
            return (*_controlled(spec.adapter), *([f"{LORAS}/{spec.start_lora}"] if spec.start_lora else []))
        case NoiseConsistencySpec():
            return (*_TEXT_TO_IMAGE, CONTROLNET, *([f"{LORAS}/{spec.generator}"] if spec.generator else []))
        case PrunedUnetSpec():
            return tuple(part for part in _controlled(spec.adapter) if part != "unet")
        case _:
            return _TEXT_TO_IMAGE


def _controlled(adapter: str | None) -> tuple[str, ...]:
    return _TEXT_TO_IMAGE if adapter is None else (*_TEXT_TO_IMAGE, CONTROLNET, f"{ADAPTERS}/{adapter}")
