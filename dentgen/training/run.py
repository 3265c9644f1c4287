"""Run a training spec: open its data, build its recipe, hand both to the loop, in this process or in Ray's workers.

Refuses to know how anything is trained.
"""

from __future__ import annotations

from dentgen.spec.train import TrainSpec
from dentgen.training.loop import Worker, export_checkpoint
from dentgen.training.worker import build_recipe, device_of, train_worker


def run_training(spec: TrainSpec, *, export_only: bool = False) -> None:
    """Train a spec to its end, or only export its newest checkpoint.

    Args:
        spec: The run.
        export_only: Write the newest checkpoint's weights to the bundle and stop.

    Raises:
        DentgenError: If data, bundle and spec do not go together.
    """
    if spec.workers and not export_only:
        from dentgen.training.ray_workers import train_with_ray  # Ray takes seconds to import

        train_with_ray(spec)
        return
    device = device_of(spec)
    if export_only:
        export_checkpoint(build_recipe(spec, device), spec)
    else:
        train_worker(spec, Worker(0, 1, device))
