"""The candidates of every decision table: control methods, guidance, combinations, loss weights, solvers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from dentgen.errors import SpecError
from dentgen.evaluation.tables.candidates import Candidate, DecisionTable, Training
from dentgen.models.bundle import find_bundle
from dentgen.models.parts import ADAPTERS, LORAS, known_parts
from dentgen.spec.build import BuildSpec
from dentgen.spec.train_sections import SINGLE_KINDS, ControlKind

#: Guidance scales that the single conditions are tried with.
GUIDANCE: Final = (1.0, 2.0, 4.5, 7.5, 9.0)
#: Weights of tooth pixels in the loss.
TOOTH_WEIGHTS: Final = (1, 2, 5, 8)
_CHOSEN_WEIGHT: Final = 5
_SUMMED: Final[tuple[ControlKind, ...]] = ("segmentation", "lighting")
_BY_CLASS: Final = {"tooth": 1.5, "gingiva": 1.0, "background": 0.5}
#: Name of a trained part that no sum needs to find by its condition.
_PART: Final = "trained"
#: Learning rates of the specs that ship in jobs/specs/.
_LEARNING_RATES: Final = {"adapter": 5e-4, "controlnet": 3e-4, "control-lora": 3e-4}
_BLENDED: Final = ("conditions.use=[segmentation, lighting]", "conditions.combine=blend", "model.controlnets={}")
_LCM_LORA: Final = "lcm"


def control_methods(spec: BuildSpec) -> DecisionTable:
    """T2: no control, ControlNet, Control-LoRA, ctrLoRA adapter, with equal data, steps and loss.

    Raises:
        SpecError: If the spec names no adapter that could be silenced.
    """
    if not spec.model.adapters:
        raise SpecError(key="model.adapters", found="none", expected="an adapter, whose scale 0 means no control")
    silent = (*_BLENDED, _adapters(dict.fromkeys(spec.model.adapters, 0.0)))
    full = ("model.adapters={}", *_BLENDED[:2], f"model.controlnets={json.dumps({_PART: 1.0})}")
    return DecisionTable(
        "T2",
        "Which kind of control follows the maps best, and what does it cost?",
        (
            Candidate("no control", silent),
            Candidate("ControlNet", full, _blend_training("controlnet", _CHOSEN_WEIGHT)),
            Candidate("Control-LoRA", full, _blend_training("control-lora", _CHOSEN_WEIGHT)),
            Candidate("ctrLoRA adapter", _trained_blend(), _blend_training("adapter", _CHOSEN_WEIGHT)),
        ),
        "All are trained on the same records for the same steps, each at the learning rate of its spec in jobs/specs/. "
        "The adapter's base is part of the bundle; ControlNet and Control-LoRA start from the UNet. A Control-LoRA is "
        "exported merged, as a ControlNet of its full size.",
    )


def guidance_of_single_conditions(spec: BuildSpec) -> DecisionTable:
    """T3: the bundle's adapters of single conditions under several guidance scales.

    Raises:
        SpecError: If the bundle has none of these adapters.
    """
    bundle = find_bundle(spec.model.bundle)
    kinds = [kind for kind in SINGLE_KINDS if kind in known_parts(bundle, ADAPTERS)]
    if not kinds:
        raise SpecError(
            key="model.bundle", found="no adapter of a single condition", expected=f"one of {', '.join(SINGLE_KINDS)}"
        )
    return DecisionTable(
        "T3",
        "Which guidance scale does a single condition need?",
        tuple(
            Candidate(f"{kind}, guidance {scale:g}", (*_single(kind), f"sampling.guidance_scale={scale}"))
            for kind in kinds
            for scale in GUIDANCE
        ),
    )


def combined_conditions(spec: BuildSpec, adapters: Mapping[str, tuple[str, str]] | None = None) -> DecisionTable:
    """T4: two conditions at once: the bundle's own adapters, equally trained ones, and others by name.

    Args:
        spec: The spec whose bundle has adapters for segmentation, lighting and their blend.
        adapters: Further adapters for blended maps: a row's name, then bundle and adapter.

    Raises:
        SpecError: If the bundle lacks one of the adapters, or a name is taken.
    """
    own = _own_combinations(spec)
    plain, weighted = _blend_training("adapter", 1), _blend_training("adapter", _CHOSEN_WEIGHT)
    trained = (
        Candidate("sum, trained here", _sum(), _sum_training(1)),
        Candidate("blend, trained here", _trained_blend(), plain),
        Candidate(f"blend, tooth weight {_CHOSEN_WEIGHT}", _trained_blend(), weighted),
        Candidate(f"sum, tooth weight {_CHOSEN_WEIGHT}", _sum(), _sum_training(_CHOSEN_WEIGHT)),
        Candidate(f"blend, tooth weight {_CHOSEN_WEIGHT}, by class", _trained_blend(_BY_CLASS), weighted),
    )
    further = tuple(
        Candidate(name, (*_BLENDED, f"model.bundle={json.dumps(bundle)}", _adapters({adapter: 1.0})))
        for name, (bundle, adapter) in (adapters or {}).items()
    )
    return DecisionTable(
        "T4",
        "How do two conditions act together?",
        (*own, *trained, *further),
        "The first rows use the bundle's own adapters, whose trainings differ; those trained here had equal records "
        "and steps for each adapter, so a sum had twice the steps of a blend.",
    )


def tooth_weights() -> DecisionTable:
    """T5: adapters for blended maps, trained with several weights of tooth pixels."""
    return DecisionTable(
        "T5",
        "How much should tooth pixels weigh in the loss?",
        tuple(
            Candidate(f"tooth weight {weight}", _trained_blend(), _blend_training("adapter", weight))
            for weight in TOOTH_WEIGHTS
        ),
        "Weights are scaled to mean 1 over each sample, so a weight does not change the learning rate.",
    )


def samplers(spec: BuildSpec, students: Sequence[Candidate] = ()) -> DecisionTable:
    """T6: DDIM 50, UniPC 4, LCM 4 and distilled students.

    Args:
        spec: The spec whose bundle has an LCM-LoRA.
        students: Further rows.

    Raises:
        SpecError: If the bundle has no LCM-LoRA, or a name is taken.
    """
    if _LCM_LORA not in known_parts(find_bundle(spec.model.bundle), LORAS):
        raise SpecError(key="model.bundle", found=f"no {LORAS}/{_LCM_LORA}", expected="a bundle with one")
    return DecisionTable(
        "T6",
        "Which sampler makes the best pictures in a few steps?",
        (
            Candidate("DDIM 50", sampler_changes("ddim", 50)),
            Candidate("UniPC 4", sampler_changes("unipc", 4)),
            Candidate("LCM 4", sampler_changes("lcm", 4, _LCM_LORA)),
            *students,
        ),
    )


def sampler_changes(scheduler: str, steps: int, lora: str = "", timesteps: Sequence[int] = ()) -> tuple[str, ...]:
    """Changes of a spec that choose a sampler, with the LoRA that it needs in the UNet and no other of the spec's."""
    chosen = json.dumps(list(timesteps)) if timesteps else "null"
    return (
        f"sampling.scheduler={scheduler}",
        "sampling.scheduler_options={}",  # those of the spec are meant for its own scheduler
        f"sampling.steps={steps}",
        f"sampling.timesteps={chosen}",
        f"model.loras={json.dumps({lora: 1.0} if lora else {})}",
    )


def _own_combinations(spec: BuildSpec) -> tuple[Candidate, ...]:
    known = known_parts(find_bundle(spec.model.bundle), ADAPTERS)
    if missing := sorted({*_SUMMED, "blended"} - set(known)):
        raise SpecError(key="model.bundle", found=f"no adapter {', '.join(missing)}", expected="a bundle with them")
    return (
        Candidate("sum", _sum()),
        Candidate("blend", (*_BLENDED, _adapters({"blended": 1.0}))),
        Candidate("blend, by class", (*_BLENDED, _adapters({"blended": _BY_CLASS}))),
    )


def _adapters(scales: Mapping[str, Any]) -> str:
    return f"model.adapters={json.dumps(dict(scales))}"


def _single(kind: ControlKind) -> tuple[str, ...]:
    return (f"conditions.use=[{kind}]", "conditions.combine=blend", "model.controlnets={}", _adapters({kind: 1.0}))


def _sum() -> tuple[str, ...]:
    return (_BLENDED[0], "conditions.combine=sum", _BLENDED[2], _adapters(dict.fromkeys(_SUMMED, 1.0)))


def _trained_blend(scale: float | Mapping[str, float] = 1.0) -> tuple[str, ...]:
    return (*_BLENDED, _adapters({_PART: scale}))


def _blend_training(recipe: str, tooth: int) -> Training:
    return Training(f"{recipe}-blended-tooth-{tooth}", (_part(recipe, "blended", _PART, tooth),))


def _sum_training(tooth: int) -> Training:
    parts = tuple(_part("adapter", kind, kind, tooth) for kind in _SUMMED)
    return Training(f"adapters-of-a-sum-tooth-{tooth}", parts)


def _part(recipe: str, control_image: ControlKind, name: str, tooth: int) -> dict[str, Any]:
    part = {
        "recipe": recipe, "control_image": control_image, "name": name, "learning_rate": _LEARNING_RATES[recipe],
        "loss": {"tooth": tooth, "snr_floor": 0.1},
    }  # fmt: skip
    # without it, an adapter would be shown other maps than its rivals
    return part | {"bare_teeth": 0.0} if recipe == "adapter" else part
