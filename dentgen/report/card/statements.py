"""What a build is for and what it is not for, in sentences that the card and Croissant share.

Refuses to know formats.
"""

from __future__ import annotations

from typing import Final

from dentgen.shards.plan import Plan
from dentgen.spec.build import BuildSpec

USES: Final = (
    "For training, pretraining and testing models that segment or number teeth in intraoral photographs, and for "
    "research on synthetic data.",
    "Not for diagnosis, treatment or any decision about a patient, and not as evidence of how common a finding is.",
)
_SYNTHETIC: Final = "Every picture is synthetic: a diffusion model made it, no camera took it, and it shows no person."
_COMPOSITE: Final = (
    "Pictures were made from the source's photographs, and parts of these may remain in them: whoever may be known "
    "from the photographs may be known from the pictures. Handle them as the photographs."
)
_MAPS: Final = (
    "Label maps may derive from scans or photographs of patients; of a source's metadata only key, group, split, "
    "prompt, license and a short list of attributes are carried over."
)
BIASES: Final = (
    "Anatomy, views and their shares are those of the condition records; colours and textures are those that the model "
    "bundle was trained on. Neither was drawn from a population."
)


def provenance(plan: Plan) -> str:
    """Where pictures come from, and whom they may show."""
    return _SYNTHETIC if BuildSpec.model_validate(plan.spec).sampling.synthetic else _COMPOSITE


def privacy(plan: Plan) -> str:
    """What of a person may be in a build."""
    return f"{provenance(plan)} {_MAPS}"


def limits(plan: Plan) -> tuple[str, ...]:
    """Sentences on what may be wrong with a build's samples."""
    return (
        "Labels are the maps that the pictures were made from, and they are right as far as the model obeyed them. "
        "That is called fidelity: how well a segmenter that was trained on reference pictures alone finds the maps "
        "again in the generated ones. No sample was rejected for disobeying its maps.",
        "`seg` and `fdi` come from the source and may disagree there; `warnings` in a sample's metadata then says so.",
        "What no map controls (background, mouth floor, the look of gum and saliva) is free and may be implausible.",
        BIASES,
        "A model trained on these pictures must be tested on real ones before anybody relies on it.",
    )
