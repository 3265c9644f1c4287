"""Training in several processes: Ray Train starts and joins the workers, and restarts them when one dies.

Workers resume from the run's own checkpoint, so Ray keeps none.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig, get_context
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.train.v2.api.exceptions import TrainingFailedError

from dentgen import storage
from dentgen.errors import SpecError, TrainingError
from dentgen.parallel.ray_session import ray_session, require_lasting
from dentgen.redaction import protect_logs
from dentgen.spec.train import TRAIN_SPEC, TrainSpec

_LOG = logging.getLogger(__name__)

#: How often a group of workers is restarted.
_RESTARTS: Final = 3


def train_with_ray(spec: TrainSpec) -> None:
    """Train a spec in its number of workers, in the cluster of ``RAY_ADDRESS`` or in a new one on this machine.

    Raises:
        SpecError: If a submitted job would write into its temporary working directory, or the GPUs do not suffice.
        TrainingError: If the workers failed more often than they are restarted.
    """
    spec = _absolute(spec)
    try:
        with ray_session(), tempfile.TemporaryDirectory() as folder:
            _fit(_trainer(spec, folder))
    except TrainingFailedError as error:
        raise TrainingError(f"the workers failed: {_cause(error)}", key="workers") from error


def _fit(trainer: TorchTrainer) -> None:
    """Fit in a thread: in the main thread Ray Train takes over Ctrl-C, and an interrupted run would look finished."""
    done: Future[None] = Future()

    def fit() -> None:
        try:
            trainer.fit()
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=fit, name="dentgen-fit", daemon=True).start()
    done.result()


def _trainer(spec: TrainSpec, folder: str) -> TorchTrainer:
    on_gpu, workers = _on_gpu(spec), spec.workers or 1
    _LOG.info("%d workers on %s", workers, "one GPU each" if on_gpu else "CPUs")
    return TorchTrainer(
        _work,
        train_loop_config=spec.model_dump(mode="json"),
        torch_config=TorchConfig(backend="nccl" if on_gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=on_gpu),
        run_config=RunConfig(storage_path=folder, failure_config=FailureConfig(max_failures=_RESTARTS)),
    )


def _on_gpu(spec: TrainSpec) -> bool:
    """Whether workers train on GPUs; ``device: cuda`` waits until the cluster has brought up enough of them.

    Raises:
        SpecError: If ``device: auto`` finds GPUs, but fewer than workers.
    """
    gpus = int(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
    if spec.device == "auto" and 0 < gpus < (spec.workers or 1):
        raise SpecError(
            key="workers",
            found=spec.workers,
            expected=f"at most {gpus}, the number of GPUs in the cluster",
            advice="or set device: cpu, or device: cuda to wait for more GPUs",
        )
    return spec.device == "cuda" or (spec.device == "auto" and gpus > 0)


def _work(values: dict[str, Any]) -> None:
    from dentgen.training.training_state import Worker
    from dentgen.training.worker import train_worker

    context = get_context()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    protect_logs()
    worker = Worker(context.get_world_rank(), context.get_world_size(), get_device())
    train_worker(TRAIN_SPEC.validate_python(values), worker)


def _absolute(spec: TrainSpec) -> TrainSpec:
    """The spec with absolute paths, because workers run in other working directories.

    Raises:
        SpecError: If a path would lie in the temporary working directory of a submitted job.
    """
    paths = {name: getattr(spec, name) for name in ("checkpoints", "bundle", "tensorboard")}
    bundles = {name: getattr(spec, name, None) for name in ("start", "align", "judges", "teacher")}
    paths |= {name: path for name, path in bundles.items() if path and Path(path).is_dir()}  # else a bundle's name
    used = {name: path for name, path in paths.items() if path}
    for name, path in {**used, "source.path": spec.source.path}.items():
        require_lasting(name, path)
    source = spec.source.model_copy(update={"path": storage.absolute(spec.source.path)})
    return spec.model_copy(update={"source": source, **{name: storage.absolute(path) for name, path in used.items()}})


def _cause(error: Exception) -> str:
    failures = getattr(error, "worker_failures", {})
    causes = [str(cause).strip().splitlines()[-1] for cause in failures.values() if str(cause).strip()]
    return causes[0] if causes else str(error).strip().splitlines()[-1]
