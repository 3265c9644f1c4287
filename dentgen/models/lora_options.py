"""What peft or diffusers writes about a LoRA: ranks, scales, and options that plain LoRAs do not have."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from peft.utils.other import get_pattern_key
from safetensors import SafetensorError, safe_open

from dentgen.errors import BundleError

Network = Literal["unet", "text_encoder"]

#: peft's config of a LoRA, next to the weights.
CONFIG: Final = "adapter_config.json"
#: Key of diffusers' description in the header of the weights; its options are named ``unet.r``, ``text_encoder.r``, ...
HEADER: Final = "lora_adapter_metadata"
NETWORKS: Final[tuple[Network, ...]] = ("unet", "text_encoder")

#: Options that decide nothing about a finished LoRA: what was trained, and how.
_TRAINING_ONLY: Final = {
    "auto_mapping", "base_model_name_or_path", "corda_config", "ensure_weight_tying", "eva_config", "exclude_modules",
    "inference_mode", "layers_pattern", "layers_to_transform", "loftq_config", "lora_dropout", "lora_ga_config",
    "megatron_config", "megatron_core", "peft_version", "qalora_group_size", "revision", "runtime_config",
    "target_modules", "task_type",
}  # fmt: skip
_READ: Final = {"r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "init_lora_weights"}
#: Other values of options by which a LoRA remains a plain one.
_PLAIN: Final[Mapping[str, tuple[Any, ...]]] = {"peft_type": ("LORA",), "bias": ("none",)}
#: Initialisations that leave the base's weights alone; the others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA) do not.
_BASE_UNCHANGED: Final = (True, False, None, "gaussian", "eva", "orthogonal")
_PEFT_DEFAULT: Final = 8  # of r and lora_alpha
_MAX_BYTES: Final = 4 * 2**20
#: peft's patterns are regular expressions; more than this and matching may take forever.
_MAX_REPEATS: Final = 3
_REPEATED_GROUP: Final = re.compile(r"\)[*+{]")


@dataclass(frozen=True, slots=True)
class LoraOptions:
    """What a description says about the layers of one network.

    Attributes:
        source: File of the description, for messages.
        rank: Rank of every layer, None if it is not described.
        alpha: Numerator of the scale, None if it is not described.
        rank_pattern, alpha_pattern: Exceptions, by peft's regular expressions for the end of a module's name.
        rank_stabilised: Whether the scale is alpha / sqrt(rank) instead of alpha / rank.
    """

    source: str = ""
    rank: int | None = None
    alpha: float | None = None
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    rank_stabilised: bool = False

    def rank_of(self, *names: str) -> int | None:
        """Rank of a module, None if it is not described; ``names`` are the spellings of its name."""
        return _matching(self.rank_pattern, names, self.rank)

    def alpha_of(self, *names: str) -> float | None:
        """Numerator of a module's scale, None if it is not described."""
        return _matching(self.alpha_pattern, names, self.alpha)

    def scale(self, alpha: float, rank: int) -> float:
        """Factor on the product of a layer's two matrices."""
        return alpha / (math.sqrt(rank) if self.rank_stabilised else rank)


def read_lora_options(file: Path) -> dict[Network, LoraOptions]:
    """The description of a LoRA's weights by network; none is plain.

    diffusers' header describes each network by itself; peft's ``adapter_config.json`` beside the weights describes the
    file, which peft writes for one network.

    Raises:
        BundleError: If it cannot be read, or the LoRA is not a plain one.
    """
    if (header := read_header(file).get(HEADER)) is not None:
        return _of_header(str(file), _parse(str(file), header))
    config = file.parent / CONFIG
    if not config.is_file():
        return {network: LoraOptions() for network in NETWORKS}
    try:
        if config.stat().st_size > _MAX_BYTES:
            raise BundleError(file=str(config), found=f"{config.stat().st_size} bytes", expected="peft's config")
        text = config.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"the LoRA's config cannot be read: {error}", file=str(file)) from error
    options = parse_options(str(file), _parse(str(file), text))
    return dict.fromkeys(NETWORKS, options)


def read_header(file: Path) -> dict[str, str]:
    """The texts in the header of a safetensors file; a pickle has none.

    Raises:
        BundleError: If it cannot be read.
    """
    try:
        with safe_open(file, "pt") as opened:
            return dict(opened.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise BundleError(f"the header cannot be read: {error}", file=str(file)) from error


def parse_options(source: str, options: Mapping[str, Any]) -> LoraOptions:
    """Options of peft's ``LoraConfig``.

    Args:
        source: File, for messages.
        options: Its content.

    Raises:
        BundleError: If an option makes it more than a plain LoRA, or has a value that peft would not take.
    """
    for name, value in options.items():
        if not _is_plain(name, value):
            raise BundleError(
                file=source, key=name, found=repr(value)[:80], expected="a plain LoRA without this option"
            )
    if not options:
        return LoraOptions(source)
    return LoraOptions(
        source=source,
        rank=None if "r" not in options else _rank(source, "r", options["r"]),
        alpha=_alpha(source, "lora_alpha", options.get("lora_alpha", _PEFT_DEFAULT)),
        rank_pattern=_patterns(source, "rank_pattern", options, _rank),
        alpha_pattern=_patterns(source, "alpha_pattern", options, _alpha),
        rank_stabilised=_flag(source, "use_rslora", options.get("use_rslora")),
    )


def _of_header(source: str, header: Mapping[str, Any]) -> dict[Network, LoraOptions]:
    """Options of each network; those of other networks say nothing about a tensor that can be placed."""
    split = {network: _within(header, f"{network}.") for network in NETWORKS}
    if any(split.values()) or not header or all("." in name for name in header):
        return {network: parse_options(source, options) for network, options in split.items()}
    options = parse_options(source, header)  # as a network's own save_lora_adapter writes it
    return dict.fromkeys(NETWORKS, options)


def _within(header: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in header.items() if name.startswith(prefix)}


def _parse(source: str, text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"the LoRA's config cannot be read: {error}", file=source) from error
    if not isinstance(parsed, dict):
        found = f"a JSON {type(parsed).__name__}"
        raise BundleError(file=source, key="config", found=found, expected="peft's options of a LoRA")
    return parsed


def _is_plain(name: str, value: Any) -> bool:
    if name in _PLAIN:
        return value in _PLAIN[name]
    if name == "init_lora_weights":
        return any(value is plain or value == plain for plain in _BASE_UNCHANGED)
    return name in _READ or name in _TRAINING_ONLY or not value


def _rank(source: str, key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BundleError(file=source, key=key, found=repr(value)[:80], expected="a positive whole number")
    return value


def _alpha(source: str, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
        raise BundleError(file=source, key=key, found=repr(value)[:80], expected="a finite number")
    return float(value)


def _flag(source: str, key: str, value: Any) -> bool:
    if value not in (None, True, False):
        raise BundleError(file=source, key=key, found=repr(value)[:80], expected="true or false")
    return bool(value)


def _patterns(source: str, key: str, options: Mapping[str, Any], number: Any) -> dict[str, Any]:
    patterns = options.get(key) or {}
    if not isinstance(patterns, Mapping):
        raise BundleError(file=source, key=key, found=repr(patterns)[:80], expected="numbers by name of a module")
    for pattern in patterns:
        repeats = sum(pattern.count(sign) for sign in "*+{")
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise BundleError(file=source, key=key, found=repr(pattern)[:80], expected=f"a pattern: {error}") from error
        if repeats > _MAX_REPEATS or _REPEATED_GROUP.search(pattern):
            expected = f"a pattern with at most {_MAX_REPEATS} repetitions, none of a group"
            raise BundleError(file=source, key=key, found=repr(pattern)[:80], expected=expected)
    return {pattern: number(source, f"{key} {pattern}"[:120], value) for pattern, value in patterns.items()}


def _matching(patterns: Mapping[str, Any], names: tuple[str, ...], default: Any) -> Any:
    """The value of the first pattern that peft finds for one of the names."""
    for name in names:
        if (key := get_pattern_key(list(patterns), name)) in patterns:
            return patterns[key]
    return default
