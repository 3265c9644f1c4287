"""Run a training spec: load its data, build its recipe, hand both to the loop."""

from __future__ import annotations

from dentgen.training.autoencoder import AutoencoderRecipe
from dentgen.training.data import load_training_set
from dentgen.training.diffusion import AdapterRecipe, BaseRecipe
from dentgen.training.loop import Recipe, export_checkpoint, train
from dentgen.training.spec import TrainSpec


def run_training(spec: TrainSpec, *, export_only: bool = False) -> None:
    """Train ``spec`` to its end, or only export its newest checkpoint."""
    data = load_training_set(spec.data, spec.split, spec.size, spec.alpha)
    recipe: Recipe
    match spec.recipe:
        case "autoencoder":
            recipe = AutoencoderRecipe(spec, data)
        case "base":
            recipe = BaseRecipe(spec, data)
        case "adapter":
            recipe = AdapterRecipe(spec, data)
    if export_only:
        export_checkpoint(recipe, spec)
    else:
        train(recipe, spec)
