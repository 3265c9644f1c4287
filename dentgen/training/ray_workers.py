"""A training run in several processes: Ray Train starts and joins them, and starts them again when one dies.

Workers go on from the run's own checkpoint, so Ray keeps none. Refuses to know how anything is trained.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any, Final

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig, get_context
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.train.v2.api.exceptions import TrainingFailedError

from dentgen.errors import SpecError, TrainingError
from dentgen.parallel.ray_session import absolute, ray_session, require_lasting
from dentgen.spec.train import TrainSpec

_LOG = logging.getLogger(__name__)

#: Places that a spec names.
_PLACES: Final = ("data", "bundle", "checkpoints", "tensorboard")
#: Bundles that it reads, which may be known by name instead.
_BUNDLES: Final = ("start", "align")
#: How often a group of workers is started again.
_RESTARTS: Final = 3


def train_with_ray(spec: TrainSpec) -> None:
    """Train a spec in its number of workers, in the cluster of ``RAY_ADDRESS`` or a new one here.

    Raises:
        SpecError: If a submitted job would write into its temporary copy of the working directory.
        TrainingError: If the workers cannot go on.
    """
    spec = _absolute(spec)
    try:
        with ray_session(), tempfile.TemporaryDirectory() as folder:
            _trainer(spec, folder).fit()
    except TrainingFailedError as error:
        raise TrainingError(f"the workers cannot go on: {_cause(error)}") from error


def _trainer(spec: TrainSpec, folder: str) -> TorchTrainer:
    on_gpu = _on_gpu(spec)
    _LOG.info("%d workers on %s", spec.workers, "a GPU each" if on_gpu else "CPUs")
    return TorchTrainer(
        _work,
        train_loop_config=spec.model_dump(mode="json"),
        torch_config=TorchConfig(backend="nccl" if on_gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=spec.workers, use_gpu=on_gpu),
        run_config=RunConfig(storage_path=folder, failure_config=FailureConfig(max_failures=_RESTARTS)),
    )


def _on_gpu(spec: TrainSpec) -> bool:
    """Whether workers train on GPUs; ``cuda`` waits for them, where a cluster brings them up when they are asked for.

    Raises:
        SpecError: If that is left to the cluster, which has some, but not enough.
    """
    gpus = int(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
    if spec.device == "auto" and 0 < gpus < spec.workers:
        raise SpecError(
            f"workers: found {spec.workers} for the cluster's {gpus} GPUs, expected at most as many; "
            "or device: cpu, or device: cuda to wait for more"
        )
    return spec.device == "cuda" or (spec.device == "auto" and gpus > 0)


def _work(values: dict[str, Any]) -> None:
    from dentgen.training.loop import Worker
    from dentgen.training.worker import train_worker

    context = get_context()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    worker = Worker(context.get_world_rank(), context.get_world_size(), get_device())
    train_worker(TrainSpec.model_validate(values), worker)


def _absolute(spec: TrainSpec) -> TrainSpec:
    """The spec with places as workers find them, who stand in other folders.

    Raises:
        SpecError: If a place would be within a submitted job's temporary copy of the working directory.
    """
    places = {name: getattr(spec, name) for name in _PLACES}
    places |= {name: getattr(spec, name) for name in _BUNDLES if Path(getattr(spec, name)).is_dir()}
    for name, place in places.items():
        if place:
            require_lasting(name, place)
    return spec.model_copy(update={name: absolute(place) for name, place in places.items() if place})


def _cause(error: Exception) -> str:
    failures = getattr(error, "worker_failures", {})
    causes = [str(cause).strip().splitlines()[-1] for cause in failures.values() if str(cause).strip()]
    return causes[0] if causes else str(error).strip().splitlines()[-1]
