"""TrainSpec: everything that decides a training run, in one YAML file, with the keys that its recipe reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Discriminator, Field, Tag, TypeAdapter

from dentgen.errors import SpecError
from dentgen.spec.train_personal import DreamBoothSpec, TextualInversionSpec
from dentgen.spec.train_recipes import (
    AdapterSpec,
    AutoencoderSpec,
    BaseSpec,
    ControlBaseSpec,
    ControlLoraSpec,
    ControlNetSpec,
    JudgeSpec,
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
from dentgen.spec.yaml_file import read_values, validate_document


def _decoder_kind(values: Any) -> Any:
    """The kind of decoder; ``tiny`` by default."""
    return values.get("decoder", "tiny") if isinstance(values, Mapping) else getattr(values, "decoder", None)


DecoderSpec = Annotated[
    Annotated[TinyDecoderSpec, Tag("tiny")] | Annotated[KlDecoderSpec, Tag("kl")], Discriminator(_decoder_kind)
]
#: One training run.
TrainSpec = Annotated[
    AutoencoderSpec
    | TextToImageSpec
    | BaseSpec
    | ControlBaseSpec
    | AdapterSpec
    | RewardSpec
    | ControlNetSpec
    | ControlLoraSpec
    | LcmLoraSpec
    | PhasedLoraSpec
    | PrunedUnetSpec
    | DmdLoraSpec
    | NoiseConsistencySpec
    | TwoFrameSpec
    | DreamBoothSpec
    | TextualInversionSpec
    | DecoderSpec
    | JudgeSpec,
    Field(discriminator="recipe"),
]
#: Validates plain values and exports the JSON Schema.
TRAIN_SPEC: Final[TypeAdapter[TrainSpec]] = TypeAdapter(TrainSpec)

_DECODERS: Final[Mapping[str, type[TrainSpec]]] = {"tiny": TinyDecoderSpec, "kl": KlDecoderSpec}
_RECIPES: Final[Mapping[str, type[TrainSpec]]] = {
    "autoencoder": AutoencoderSpec,
    "text-to-image": TextToImageSpec,
    "base": BaseSpec,
    "control-base": ControlBaseSpec,
    "adapter": AdapterSpec,
    "reward": RewardSpec,
    "controlnet": ControlNetSpec,
    "control-lora": ControlLoraSpec,
    "lcm-lora": LcmLoraSpec,
    "phased-lora": PhasedLoraSpec,
    "pruned-unet": PrunedUnetSpec,
    "dmd-lora": DmdLoraSpec,
    "noise-consistency": NoiseConsistencySpec,
    "two-frame": TwoFrameSpec,
    "dreambooth": DreamBoothSpec,
    "textual-inversion": TextualInversionSpec,
    "decoder": TinyDecoderSpec,
    "judge": JudgeSpec,
}
RECIPES: Final = tuple(_RECIPES)


def read_train_spec(path: str | Path, overrides: Sequence[str] = ()) -> TrainSpec:
    """Read a training spec.

    Args:
        path: YAML file.
        overrides: ``a.b=value`` texts that replace single keys; values are YAML.

    Raises:
        SpecError: If the file or an override is wrong; ``faults`` names every wrong key.
    """
    values = read_values(path, overrides)
    kind = _chosen(_RECIPES, "recipe", values.get("recipe"), path)
    if "decoder" in values and values["recipe"] == "decoder":
        kind = _chosen(_DECODERS, "decoder", values["decoder"], path)
    return validate_document(kind, values, path, overrides)


def _chosen(kinds: Mapping[str, type[TrainSpec]], key: str, value: Any, file: str | Path) -> type[TrainSpec]:
    """The class that a discriminating key names."""
    if not isinstance(value, str) or value not in kinds:
        found = "none" if value is None else repr(value)[:100]
        raise SpecError(file=str(file), key=key, found=found, expected=f"one of {', '.join(kinds)}")
    return kinds[value]
