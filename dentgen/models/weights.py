"""Networks of a bundle: built without memory, then filled tensor by tensor from their safetensors files.

Names and shapes are compared before anything is allocated. Every tensor is converted while it is read, so that loading
takes the memory of the finished network and of one batch of tensors.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from dentgen.errors import BundleError
from dentgen.models.bundle_files import CONFIG, faults_of_folder, read_json, weights_files
from dentgen.models.checkpoints.file import read_shapes

_LOG = logging.getLogger(__name__)

Net = TypeVar("Net", bound=nn.Module)
#: Changes a parameter's values, of any precision, on their way into the network.
Change = Callable[[str, Tensor], Tensor]

#: Bytes of a file that are mapped at a time; what a closed mapping has read counts no longer.
_BATCH_BYTES: Final = 256 * 2**20
#: The largest numbers in configs are sizes of vocabularies.
_MAX_NUMBER: Final = 1_000_000
_MAX_LIST: Final = 64
#: Stable Diffusion XL's UNet has 1,680 tensors.
_MAX_BLOCKS: Final = 2000
#: Config entries whose product counts a network's blocks, each of which has tensors.
_COUNTS: Final = (
    "layers_per_block", "transformer_layers_per_block", "num_hidden_layers", "num_encoder_blocks", "num_decoder_blocks",
    "reverse_transformer_layers_per_block",
)  # fmt: skip
_PRECISIONS: Final = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _unchanged(_: nn.Module, names: list[str]) -> dict[str, str]:
    return dict(zip(names, names, strict=True))


def load_network(
    folder: Path,
    build: Callable[[dict[str, Any]], Net],
    dtype: torch.dtype,
    *,
    channels_last: bool = False,
    rename: Callable[[Net, list[str]], Mapping[str, str]] = _unchanged,
    change: Callable[[Net], Change] | None = None,
    strict: bool = False,
) -> Net:
    """Load a network in evaluation mode.

    Args:
        folder: Its config and weights.
        build: Builds the network from the config; called with the meta device as default.
        dtype: Precision of the parameters.
        channels_last: Memory format of the weights of convolutions; otherwise contiguous.
        rename: Names in the network of a file's tensors; those that it leaves out are not read.
        change: Makes, for the empty network, what changes its parameters before they get their precision.
        strict: Whether further tensors are an error, instead of a warning.

    Raises:
        BundleError: If it cannot be read, or a tensor is missing or does not fit.
    """
    with faults_of_folder(folder):
        return _filled(folder, build, dtype, rename, change, channels_last=channels_last, strict=strict)


def _filled(
    folder: Path,
    build: Callable[[dict[str, Any]], Net],
    dtype: torch.dtype,
    rename: Callable[[Net, list[str]], Mapping[str, str]],
    change: Callable[[Net], Change] | None,
    *,
    channels_last: bool,
    strict: bool,
) -> Net:
    files = weights_files(folder)
    shapes = {file: read_shapes(file) for file in files}
    net = empty_network(folder, build, sum(map(len, shapes.values())))
    names = rename(net, [name for held in shapes.values() for name in held])
    _check_names(folder, net, shapes, names, strict=strict)
    changed = change(net) if change is not None else None
    wanted = net.state_dict().keys() & set(names.values())
    for file, held in shapes.items():
        chosen = {key: names[key] for key in held if names.get(key) in wanted}
        for name, value in _read(file, {key: held[key] for key in chosen}):
            final = value if changed is None else changed(chosen[name], value)
            _set(net, chosen[name], converted(final, dtype, channels_last=channels_last))
    return net.eval()


def empty_network(folder: Path, build: Callable[[dict[str, Any]], Net], tensors: int = _MAX_BLOCKS) -> Net:
    """Build a network on the meta device, by its config.

    Args:
        folder: Folder of the config.
        build: Builds the network from the config.
        tensors: Tensors that there are for it: a config that asks for more blocks is refused unbuilt.

    Raises:
        BundleError: If the config is none of such a network.
    """
    with faults_of_folder(folder):
        config = read_json(folder / CONFIG)
    _check_config(folder / CONFIG, config, tensors)
    try:
        with torch.device("meta"):
            return build(config)
    except (BundleError, MemoryError):
        raise
    except Exception as error:  # a wrong value fails anywhere in the libraries
        raise BundleError(f"cannot be loaded: no network of this config: {error!r}", file=str(folder)) from error


def converted(value: Tensor, dtype: torch.dtype, *, channels_last: bool) -> Tensor:
    """A copy in memory of its own, in the precision and memory format of a network."""
    is_convolution = channels_last and value.ndim == 4
    layout = torch.channels_last if is_convolution else torch.contiguous_format
    return torch.empty(value.shape, dtype=dtype, memory_format=layout).copy_(value)


def _check_config(file: Path, config: Mapping[str, Any], tensors: int) -> None:
    """Refuse numbers that would take forever or all memory to build."""
    for key, value in _numbers(config):
        if not abs(value) <= _MAX_NUMBER:  # nor if it is not a number
            expected = f"a number of at most {_MAX_NUMBER}"
            raise BundleError(
                "cannot be loaded", file=str(file.parent), key=key, found=str(value)[:80], expected=expected
            )
    lists = [(key, value) for key, value in config.items() if isinstance(value, list)]
    if long := [(key, len(value)) for key, value in lists if len(value) > _MAX_LIST]:
        found, expected = f"{long[0][1]} values", f"at most {_MAX_LIST}"
        raise BundleError("cannot be loaded", file=str(file.parent), key=long[0][0], found=found, expected=expected)
    blocks = math.prod(max([1, *(int(value) for _, value in _numbers({key: config.get(key)}))]) for key in _COUNTS)
    if blocks > max(tensors, 1):
        found, expected = f"{blocks} blocks", f"no more than the {tensors} tensors of the weights"
        raise BundleError("cannot be loaded", file=str(file.parent), key=CONFIG, found=found, expected=expected)


def _numbers(values: Any, key: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from _numbers(value, str(name))
    elif isinstance(values, list):
        for value in values:
            yield from _numbers(value, key)
    elif isinstance(values, (int, float)) and not isinstance(values, bool):
        yield key, values


def _check_names(
    folder: Path, net: nn.Module, shapes: Mapping[Path, Mapping[str, Tensor]], names: Mapping[str, str], *, strict: bool
) -> None:
    """Every tensor of the network is there once, in its shape."""
    found: dict[str, Tensor] = {}
    for held in shapes.values():
        for key, value in held.items():
            if key in names and names[key] in found:
                raise BundleError(file=str(folder), key=key, found="a second tensor of this name", expected="one")
            if key in names:
                found[names[key]] = value
    expected = net.state_dict()
    kind = type(net).__name__
    if missing := sorted(expected.keys() - found.keys()):
        wanted = f"every tensor of {kind}"
        raise BundleError(file=str(folder), key=missing[0], found="no such tensor in the weights", expected=wanted)
    if unexpected := sorted(found.keys() - expected.keys()):
        if strict:
            raise BundleError(
                file=str(folder), key=unexpected[0], found="an unknown tensor", expected=f"none but {kind}'s"
            )
        _LOG.warning("%s: %d tensors are not of %s: %s, ...", folder, len(unexpected), kind, unexpected[0])
    for name, value in expected.items():
        if value.shape != found[name].shape or found[name].dtype not in _PRECISIONS:
            message = f"cannot be loaded: {name} does not fit"
            described, wanted = (f"{list(each.shape)} of {each.dtype}" for each in (found[name], value))
            raise BundleError(message, file=str(folder), key=name, found=described, expected=wanted)


def _read(file: Path, held: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Tensors of a file, valid until the next one is asked for."""
    try:
        for names in _batches(held):
            with safe_open(file, "pt") as opened:
                for name in names:
                    yield name, opened.get_tensor(name)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise BundleError(f"cannot be loaded: {error}", file=str(file)) from error


def _batches(held: Mapping[str, Tensor]) -> Iterator[Sequence[str]]:
    names: list[str] = []
    size = 0
    for name, value in held.items():
        names.append(name)
        size += value.numel() * value.element_size()
        if size > _BATCH_BYTES:
            yield names
            names, size = [], 0
    yield names


def _set(net: nn.Module, name: str, value: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    module = net.get_submodule(path)
    if isinstance(getattr(module, leaf), nn.Parameter):
        setattr(module, leaf, nn.Parameter(value))
    else:
        module.register_buffer(leaf, value)
