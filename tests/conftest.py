"""Fixtures: real condition records, those of the demo at half its size, the real miniature, small real builds."""

from __future__ import annotations

import io
import os
import signal
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's default of 15 starves its workers on a busy machine
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from dentgen.conditions.labels import LABEL_VALUES
from dentgen.shards.plan_file import read_plan
from dentgen.shards.verify import verify_build
from dentgen.spec.build import BuildSpec
from dentgen.spec.model import ModelSpec

if TYPE_CHECKING:  # heavy, and of no use to the fast tier
    import torch

    from dentgen.models.bundle import Bundle

settings.register_profile("dentgen", deadline=None)  # a busy machine is no failure; performance lives in the benchmarks
settings.load_profile("dentgen")

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "jobs" / "demo"
#: The demo's mouths at 128 px, half of its size: cheaper to read and to prepare.
JAWS = ROOT / "tests" / "jaws_128"
#: Folders and files whose tests need neither the model nor Ray, as in the Makefile; 'make test-fast' runs them.
FAST = {"cluster", "storage", "spec", "parallel", "conditions", "documents", "quality", "shards", "test_errors.py",
        "test_layout.py", "test_logs.py", "test_progress.py", "test_records.py", "test_redaction.py",
        "test_seeding.py", "test_words.py"}  # fmt: skip


#: A shell ignores Ctrl-C for what it runs in the background; tests send it to themselves and to their children.
signal.signal(signal.SIGINT, signal.default_int_handler)


class FileScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Tests of one file run in one of several processes, and all files that start Ray in the same one.

    Planted faults share nothing and go wherever there is time. Groups of pytest-xdist itself are lost on the way: it
    writes them into names that pytest 9 no longer reads.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        if file.startswith("tests/faults/"):
            return nodeid
        return "ray" if "not ray" not in self.config.option.markexpr and _starts_ray(file) else file


@cache
def _starts_ray(file: str) -> bool:
    text = (ROOT / file).read_text()
    return "pytest.mark.ray" in text or "ray_local" in text


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FileScheduling:
    """Called by pytest-xdist."""
    return FileScheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def _one_thread(request: pytest.FixtureRequest) -> None:
    if not _only_fast(request):
        import torch

        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _signals_are_as_before() -> Iterator[None]:
    """A command that a test interrupts ignores further signals, as do all processes that are started after it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _only_fast(request: pytest.FixtureRequest) -> bool:
    """Whether no test of this run needs the model, whose libraries take seconds to import."""
    return all(item.path.relative_to(ROOT / "tests").parts[0] in FAST for item in request.session.items)


@pytest.fixture(scope="session", autouse=True)
def _miniature_is_loaded_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """Generators of one process share the embedded bundle; its networks are never written to after loading."""
    if _only_fast(request):
        yield
        return
    from dentgen.models.bundle import load_bundle

    @cache
    def load(chosen: str, device: str, dtype: torch.dtype) -> Bundle:
        return load_bundle(ModelSpec.model_validate_json(chosen), device=device, dtype=dtype)

    def load_cached(model: ModelSpec, *, device: str, dtype: torch.dtype) -> Bundle:
        if model.bundle != "miniature":
            return load_bundle(model, device=device, dtype=dtype)
        return load(model.model_dump_json(), device, dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dentgen.generation.generator.load_bundle", load_cached)
        yield


@pytest.fixture(scope="session")
def demo_members() -> dict[str, dict[str, bytes]]:
    """Members of the condition records of ``JAWS`` by key and extension."""
    records: dict[str, dict[str, bytes]] = {}
    for shard in sorted(JAWS.glob("*.tar")):
        with tarfile.open(shard) as archive:
            for info in archive:
                key, _, extension = info.name.partition(".")
                content = archive.extractfile(info)
                assert content is not None
                records.setdefault(key, {})[extension] = content.read()
    return records


@pytest.fixture(scope="session")
def miniature() -> Bundle:
    """The embedded bundle with its first adapter."""
    from dentgen.models.bundle import load_bundle

    return load_bundle("miniature", ["blended"])


def write_tar(path: Path, records: dict[str, dict[str, bytes]]) -> Path:
    """A WebDataset tar of records."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for key, members in records.items():
            for extension, content in sorted(members.items()):
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def small_source(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> Path:
    """Two condition shards with three and two records."""
    keys = sorted(demo_members)
    source = tmp_path / "conditions"
    write_tar(source / "a.tar", {key: demo_members[key] for key in keys[:3]})
    write_tar(source / "b.tar", {key: demo_members[key] for key in keys[3:5]})
    return source


def small_spec(source: Path, out: Path, /, **sections: dict[str, object] | list[Any]) -> BuildSpec:
    """A build of two variants in two steps at 64 pixels, half of the size of the maps, in shards of four samples."""
    values: dict[str, Any] = {
        "source": {"path": str(source)},
        "output": {"path": str(out)},
        "conditions": {"size": 64},
        "sampling": {"variants": 2, "seed": 5, "steps": 2},
        "pipeline": {"samples_per_shard": 4},
        "engine": {"slots": 4},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section} if isinstance(section, dict) else section
    return BuildSpec.model_validate(values)


def shard_bytes(out: Path) -> dict[str, bytes]:
    """Every output shard by name."""
    return {path.name: path.read_bytes() for path in sorted((out / "shards").glob("*.tar"))}


def problems(out: Path | str) -> list[str]:
    """What verification finds, a line each."""
    return [str(problem) for problem in verify_build(str(out), read_plan(str(out)), LABEL_VALUES)]


@pytest.fixture(scope="session")
def ray_local() -> Iterator[None]:
    """A local Ray with two CPUs, stopped afterwards."""
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def s3_root() -> Iterator[str]:
    """A folder of a bucket on moto's server."""
    with moto_bucket() as bucket:
        yield bucket


@contextmanager
def moto_bucket() -> Iterator[str]:
    """A bucket on moto's server over loopback HTTP; credentials from the environment."""
    import boto3
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    values = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    boto3.client("s3").create_bucket(Bucket="dentgen-test")
    s3fs.S3FileSystem.clear_instance_cache()
    yield "s3://dentgen-test/root"
    server.stop()
    s3fs.S3FileSystem.clear_instance_cache()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
