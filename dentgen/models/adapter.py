"""ctrLoRA's adapters: peft LoRAs on the base's linear layers plus own zero convolutions and attention norms.

Xu et al. 2024, https://arxiv.org/abs/2410.09400. An adapter is merged into a net of its own, so that switching adapters
cannot leave anything behind; what it does not change is in memory once for all adapters.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from diffusers import ControlNetModel
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from torch import Tensor, nn

from dentgen.errors import BundleError
from dentgen.models.bundle_files import ADAPTER_WEIGHTS, PEFT_CONFIG, read_json
from dentgen.models.checkpoints.file import check_tensors, read_shapes, read_tensors
from dentgen.models.control import base_of_config
from dentgen.models.lora_options import LoraOptions, parse_options

LORA_TARGETS: Final = (
    "to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "time_emb_proj", "linear_1", "linear_2",
)  # fmt: skip
#: Modules trained in full next to the LoRA: zero convolutions and the transformers' norms. ResNet norms stay frozen, as
#: in the original code, whose name filter does not match them.
SAVED_WHOLE: Final = re.compile(
    r"^(controlnet_down_blocks\.\d+|controlnet_mid_block|.*transformer_blocks\.\d+\.norm\d|.*attentions\.\d+\.norm)$"
)
#: Prefix of peft's names for the wrapped modules.
PEFT: Final = "base_model.model."


def adapter_config(whole: Sequence[str], rank: int) -> LoraConfig:
    """Config of an adapter for peft: LoRA on every linear layer, and the modules ``whole`` trained in full."""
    return LoraConfig(
        r=rank,
        lora_alpha=rank,
        init_lora_weights="gaussian",
        target_modules=list(LORA_TARGETS),
        modules_to_save=list(whole),
    )


def add_adapter(control: ControlNetModel, rank: int) -> PeftModel:
    """A copy of the base with a new trainable adapter; the base itself is not modified.

    ``PeftModel`` switches norms and zero convolutions together with the LoRA, unlike diffusers' ``add_adapter``.
    """
    config = adapter_config([name for name, _ in control.named_modules() if SAVED_WHOLE.match(name)], rank)
    return get_peft_model(copy.deepcopy(control), config)


def expected_adapter(control: ControlNetModel, rank: int) -> dict[str, Tensor]:
    """The tensors of an adapter of a given rank, on the meta device, by their names in the net."""
    expected: dict[str, Tensor] = {}
    for name, value in control.state_dict().items():
        module, _, kind = name.rpartition(".")
        if SAVED_WHOLE.match(module):
            expected[name] = value.to("meta")
        elif kind == "weight" and is_target(module):
            out_features, in_features = value.shape
            expected[f"{module}.lora_A.weight"] = torch.empty(rank, in_features, device="meta")
            expected[f"{module}.lora_B.weight"] = torch.empty(out_features, rank, device="meta")
    return expected


def is_target(module: str) -> bool:
    """Whether ctrLoRA trains a module of a control net by LoRA."""
    return module.endswith(tuple(f".{target}" for target in LORA_TARGETS))


def save_adapter(adapted: PeftModel, folder: Path) -> None:
    """Save an adapter in peft's layout, weights in fp16."""
    adapted = copy.deepcopy(adapted).half()
    adapted.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card template
    file = folder / PEFT_CONFIG
    config = json.loads(file.read_text())
    # peft writes a set, in an order that differs between processes
    config["target_modules"] = sorted(config["target_modules"])
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def load_adapter(control: ControlNetModel, folder: Path) -> PeftModel:
    """A copy of the base with the adapter in ``folder``, trainable; the base itself is not modified.

    Scales other than 1 are multiplied into the second matrix of each LoRA.

    Raises:
        BundleError: If the folder holds no safetensors adapter, or one for another net.
    """
    file, tensors, options = _read_adapter(control, folder)
    ranks = {path: len(value) for name, value in tensors.items() if (path := _lora_path(name))}
    adapted = add_adapter(control, next(iter(ranks.values())))
    for path, rank in ranks.items():
        _check_rank(file, path, rank, options)
        tensors[f"{path}.lora_B.weight"] = tensors[f"{path}.lora_B.weight"].float() * _scale(path, rank, options)
    set_peft_model_state_dict(adapted, {f"{PEFT}{name}": value for name, value in tensors.items()})
    return adapted


def _lora_path(name: str) -> str:
    """The module whose first LoRA matrix a tensor is; "" for other tensors."""
    return name.removesuffix(".lora_A.weight") if name.endswith(".lora_A.weight") else ""


def merge_adapter(control: ControlNetModel, folder: Path) -> ControlNetModel:
    """The base with the adapter in ``folder`` merged in; it shares with the base what the adapter does not change.

    Raises:
        BundleError: If the folder holds no safetensors adapter, or one for another net.
    """
    return _merged(control, *_read_adapter(control, folder))


def _read_adapter(control: ControlNetModel, folder: Path) -> tuple[Path, dict[str, Tensor], LoraOptions]:
    """The file of an adapter, its tensors by their names in the net, and what its config says."""
    file = folder / ADAPTER_WEIGHTS
    if not file.is_file():
        raise BundleError(file=str(folder), found=f"no {ADAPTER_WEIGHTS}", expected="an adapter saved by peft")
    _check_adapter(control, file)
    described = dict(read_json(folder / PEFT_CONFIG))
    described.pop("modules_to_save", None)  # the file's other tensors are those modules, whatever they are called here
    options = parse_options(str(folder / PEFT_CONFIG), described)
    return file, _without_prefix(read_tensors(file)), options


def _without_prefix(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(PEFT): value for name, value in tensors.items()}


@torch.no_grad()
def _merged(
    control: ControlNetModel, file: Path, tensors: Mapping[str, Tensor], options: LoraOptions
) -> ControlNetModel:
    with torch.device("meta"):
        merged = base_of_config(control.config)
    for name, parameter in control.named_parameters():
        path, _, leaf = name.rpartition(".")
        if f"{path}.lora_A.weight" in tensors and leaf == "weight":
            changed = _with_lora(parameter, path, file, tensors, options)
        elif name in tensors:
            changed = nn.Parameter(torch.empty_like(parameter).copy_(tensors[name]))
        else:
            changed = parameter
        setattr(merged.get_submodule(path), leaf, changed)
    return merged.eval()


def _with_lora(
    weight: Tensor, path: str, file: Path, tensors: Mapping[str, Tensor], options: LoraOptions
) -> nn.Parameter:
    down, up = tensors[f"{path}.lora_A.weight"].float(), tensors[f"{path}.lora_B.weight"].float()
    rank = down.shape[0]
    _check_rank(file, path, rank, options)
    changed = weight.detach().clone()
    changed += (up @ down) * _scale(path, rank, options)
    return nn.Parameter(changed)


def _check_rank(file: Path, path: str, rank: int, options: LoraOptions) -> None:
    if (wanted := options.rank_of(path)) not in (None, rank):
        raise BundleError(file=str(file), key=path, found=f"rank {rank}", expected=f"{wanted}, as in {options.source}")


def _scale(path: str, rank: int, options: LoraOptions) -> float:
    described = options.alpha_of(path)
    return options.scale(rank if described is None else described, rank)


def _check_adapter(control: ControlNetModel, file: Path) -> None:
    """Check that the file has every tensor of an adapter."""
    found = _without_prefix(read_shapes(file))
    ranks = [value.shape[:1].numel() for name, value in found.items() if name.endswith(".lora_A.weight")]
    check_tensors(str(file), found, expected_adapter(control, ranks[0] if ranks else 0))
    if strange := [name for name, value in found.items() if not value.is_floating_point() or not value.numel()]:
        described = f"{list(found[strange[0]].shape)} of {found[strange[0]].dtype}"
        raise BundleError(file=str(file), key=strange[0], found=described, expected="floating-point numbers")
