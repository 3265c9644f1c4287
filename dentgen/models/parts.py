"""Loading of a bundle's single parts: tokenizer, text encoder, autoencoder, UNet and tiny decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dentgen.errors import BundleError
from dentgen.models.autoencoder import downscale_of
from dentgen.models.weights import Change, empty_network, load_network

TINY_DECODER: Final = "tiny_decoder"
CONTROLNET: Final = "controlnet"
CONTROLNETS: Final = "controlnets"
ADAPTERS: Final = "adapters"
LORAS: Final = "loras"
EMBEDDINGS: Final = "embeddings"
REQUIRED: Final = ("tokenizer", "text_encoder", "vae", "unet", "scheduler")

#: Numbers of configs that dentgen computes with; diffusers takes any value for some of them.
_NUMBERS: Final = frozenset({
    "latent_channels", "in_channels", "out_channels", "scaling_factor", "upsampling_scaling_factor",
})  # fmt: skip
_LARGEST_NUMBER: Final = 10_000
#: Files of a vocabulary: either all in one, or tokens and the merges that make them.
_VOCABULARIES: Final = (("tokenizer.json",), ("vocab.json", "merges.txt"))
_SPECIAL_TOKENS: Final = ("bos", "eos", "pad")
#: Older transformers save the positions as a tensor, and put the network into a module of its own.
_POSITIONS: Final = "embeddings.position_ids"


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """Load a tokenizer; transformers alone would make an empty one of a folder without vocabulary.

    Raises:
        BundleError: If it cannot be read or has no vocabulary.
    """
    if not any(all((folder / name).is_file() for name in names) for names in _VOCABULARIES):
        found = " or ".join(" and ".join(names) for names in _VOCABULARIES)
        raise BundleError(file=str(folder), found=f"no {found}", expected="a CLIP tokenizer")
    try:
        tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        tokenizer("a photo of teeth", add_special_tokens=False)  # what is wrong with a vocabulary may show only here
    except MemoryError:
        raise
    except BaseException as error:  # transformers fails anywhere, and Rust's panics are no Exceptions
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise BundleError(f"cannot be loaded: {error}", file=str(folder)) from error
    return tokenizer


def tokenizer_problems(folder: Path, tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel) -> list[BundleError]:
    """What of a tokenizer does not fit a text encoder, on any device."""
    rows, window = text_encoder.get_input_embeddings().weight.shape[0], text_encoder.config.max_position_embeddings
    problems = []

    def report(key: str, found: Any, expected: str) -> None:
        problems.append(BundleError(file=str(folder), key=key, found=found, expected=expected))

    tokens = max([len(tokenizer), *(token + 1 for token in tokenizer.get_vocab().values())])
    if tokens > rows:
        report("tokens", tokens, f"at most {rows}, as in the text encoder")
    if tokenizer.model_max_length != window:
        found = "none" if tokenizer.model_max_length > 10**9 else tokenizer.model_max_length
        report("model_max_length", found, f"{window}, as in the text encoder")
    for name in _SPECIAL_TOKENS:
        if getattr(tokenizer, f"{name}_token_id") is None:
            report(f"{name}_token", "none", "a token of the vocabulary")
    return problems


def load_text_encoder(
    folder: Path,
    dtype: torch.dtype,
    *,
    channels_last: bool = False,
    change: Callable[[CLIPTextModel], Change] | None = None,
) -> CLIPTextModel:
    """Load a text encoder; transformers alone would initialise missing tensors at random.

    Raises:
        BundleError: If it cannot be read or lacks a tensor.
    """
    model = load_network(
        folder, lambda config: _text_encoder(folder, config), dtype,
        channels_last=channels_last, rename=_text_names, change=change,
    )  # fmt: skip
    positions = int(model.config.max_position_embeddings)
    model.embeddings.position_ids = torch.arange(positions).expand(1, -1)
    return model


def empty_unet(folder: Path) -> UNet2DConditionModel:
    """A bundle's UNet on the meta device.

    Raises:
        BundleError: If it has none.
    """
    return empty_network(folder / "unet", UNet2DConditionModel.from_config)


def empty_text_encoder(folder: Path) -> CLIPTextModel:
    """A bundle's text encoder on the meta device.

    Raises:
        BundleError: If it has none.
    """
    return empty_network(folder / "text_encoder", lambda config: _text_encoder(folder / "text_encoder", config))


def _text_encoder(folder: Path, config: Mapping[str, Any]) -> CLIPTextModel:
    parsed = (
        CLIPTextConfig.from_pretrained(folder) if "text_config" in config else CLIPTextConfig.from_dict(dict(config))
    )
    return CLIPTextModel(parsed)


def _text_names(_: nn.Module, names: list[str]) -> dict[str, str]:
    bare = {name: name.removeprefix("text_model.") for name in names}
    return {name: short for name, short in bare.items() if short != _POSITIONS}


def _diffusers_names(net: Any, names: list[str]) -> dict[str, str]:
    """Attention blocks had other names in autoencoders of older diffusers."""
    renamed = dict(zip(names, names, strict=True))
    net._fix_state_dict_keys_on_load(renamed)  # noqa: SLF001 - what from_pretrained calls
    return {old: new for new, old in renamed.items()}


def load_vae(folder: Path, dtype: torch.dtype, *, channels_last: bool = False) -> AutoencoderKL:
    """Load an autoencoder.

    Raises:
        BundleError: If it cannot be read or lacks a tensor.
    """
    return load_diffusers(AutoencoderKL, folder, dtype, channels_last=channels_last)


def load_unet(
    folder: Path,
    dtype: torch.dtype,
    *,
    channels_last: bool = False,
    change: Callable[[UNet2DConditionModel], Change] | None = None,
) -> UNet2DConditionModel:
    """Load a UNet.

    Raises:
        BundleError: If it cannot be read or lacks a tensor.
    """
    return load_diffusers(UNet2DConditionModel, folder, dtype, channels_last=channels_last, change=change)


def load_tiny_decoder(
    folder: Path, vae: AutoencoderKL, dtype: torch.dtype, *, channels_last: bool = False
) -> AutoencoderTiny:
    """Load a distilled decoder.

    Raises:
        BundleError: If it is missing, cannot be read, or does not decode the latents of ``vae``.
    """
    if not folder.is_dir():
        expected = "a folder of diffusers' AutoencoderTiny"
        raise BundleError(file=str(folder.parent), found=f"no {TINY_DECODER}", expected=expected)
    tiny_decoder: AutoencoderTiny = load_diffusers(AutoencoderTiny, folder, dtype, channels_last=channels_last)
    found, expected = _latent_format(tiny_decoder), _latent_format(vae)
    if found != expected:
        raise BundleError(file=str(folder), found=found, expected=f"{expected}, as the autoencoder")
    return tiny_decoder


def chosen_part(folder: Path, kind: str, part: str, suffix: str = "") -> Path:
    """Path of a part that a spec names: a subfolder of ``kind``, or a file if there is a suffix.

    Raises:
        BundleError: If there is no such part.
    """
    path = folder / kind / f"{part}{suffix}"
    is_path = part in {"", ".", ".."} or Path(part).name != part
    if is_path or not (path.is_file() if suffix else path.is_dir()):
        expected = f"one of {known_parts(folder, kind, suffix)}"
        raise BundleError(file=str(folder / kind), found=f"no {part!r}", expected=expected)
    return path


def known_parts(folder: Path, kind: str, suffix: str = "") -> list[str]:
    """Sorted names of a bundle's parts of one kind."""
    paths = (folder / kind).glob(f"*{suffix}")
    return sorted(p.name.removesuffix(suffix) for p in paths if (p.is_file() if suffix else p.is_dir()))


def check_complete(source: str, net: nn.Module) -> None:
    """Check that all parameters have values; diffusers leaves tensors that a file lacks on the meta device.

    Raises:
        BundleError: If there are such parameters.
    """
    missing = [parameter for parameter, values in net.named_parameters() if values.is_meta]
    if missing:
        raise _missing_tensor(source, missing[0], net)


def _missing_tensor(source: str, name: str, net: nn.Module) -> BundleError:
    expected = f"every tensor of {type(net).__name__}"
    return BundleError(file=source, key=name, found="no such tensor in the weights", expected=expected)


def load_diffusers(model_class: Any, folder: Path, dtype: torch.dtype, **options: Any) -> Any:
    """Load a network of one of diffusers' classes; ``options`` are those of ``load_network``.

    Raises:
        BundleError: If it cannot be read, lacks a tensor, or its config has no number where one is needed.
    """
    network = load_network(folder, model_class.from_config, dtype, rename=_diffusers_names, **options)
    _check_numbers(folder, network.config)
    return network


def _check_numbers(folder: Path, config: Mapping[str, Any]) -> None:
    for key in sorted(_NUMBERS & config.keys()):
        value = config[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _LARGEST_NUMBER:
            expected = f"a number above 0 and below {_LARGEST_NUMBER}"
            raise BundleError(file=str(folder / "config.json"), key=key, found=repr(value)[:100], expected=expected)


def _latent_format(autoencoder: AutoencoderKL | AutoencoderTiny) -> str:
    """Channels of a latent and pixels along its edge."""
    return f"latents of {autoencoder.config['latent_channels']} channels and {downscale_of(autoencoder)} pixels"
