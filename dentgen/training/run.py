"""Run a training spec, in this process or in Ray workers."""

from __future__ import annotations

from dentgen.errors import SpecError
from dentgen.models.bundle import MINIATURE, find_bundle
from dentgen.spec.train import TrainSpec
from dentgen.storage.overlap import is_within, require_apart
from dentgen.training.loop import export_checkpoint
from dentgen.training.training_state import Worker
from dentgen.training.worker import build_recipe, device_of, torch_threads, train_worker


def run_training(spec: TrainSpec, *, export_only: bool = False) -> None:
    """Train a spec to its end, resuming from its checkpoint, or only export the checkpoint.

    Args:
        spec: The run.
        export_only: Write the weights of the checkpoint to the bundle without training.

    Raises:
        SpecError: If the bundle or the checkpoints overlap with the source, or with the miniature inside dentgen.
        DentgenError: If data, bundle, checkpoint or spec cannot be used, or training diverges.
        KeyboardInterrupt: On Ctrl-C; the run can be resumed.
    """
    for key, place in (("bundle", spec.bundle), ("checkpoints", spec.checkpoints)):
        require_apart(key, place, "source.path", spec.source.path)
        _require_outside_dentgen(key, place)
    if spec.workers and not export_only:
        from dentgen.training.ray_workers import train_with_ray  # Ray takes seconds to import

        train_with_ray(spec)
        return
    device = device_of(spec)
    if export_only:
        with torch_threads(spec.threads):
            export_checkpoint(build_recipe(spec, device), spec)
    else:
        train_worker(spec, Worker(0, 1, device))


def _require_outside_dentgen(key: str, place: str) -> None:
    """A training writes into its bundle, so that may not be the one that every build on this machine uses."""
    embedded = find_bundle(MINIATURE)
    if (key, place) == ("bundle", MINIATURE) or is_within(place, str(embedded)):
        raise SpecError(
            key=key, found=f"{place}, the miniature inside dentgen", expected="a folder of your own",
            advice=f"copy it, 'cp -r {embedded} my-bundle', and set {key}=my-bundle",
        )  # fmt: skip
