"""Remote bundles: copied once, copied in constant memory, and copied as a whole or not at all."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import fsspec
import pytest
from huggingface_hub import HfApi

from dentgen import storage
from dentgen.errors import BundleError
from dentgen.models.bundle import bundle_digest, find_bundle, load_bundle
from dentgen.models.bundle_source import download, local_copy
from dentgen.storage.hub_errors import NO_CONNECTION


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DENTGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "bundles"


@pytest.fixture
def remote(request: pytest.FixtureRequest) -> str:
    """A folder of two files in memory."""
    url = f"memory://{request.node.name}/bundle"
    memory = fsspec.filesystem("memory")
    memory.pipe(f"{url}/unet/config.json", b"{}")
    memory.pipe(f"{url}/unet/weights.safetensors", b"0123456789")
    return url


def copies(cache: Path) -> list[Path]:
    """Everything in the cache but locks."""
    return [path for path in cache.iterdir() if path.suffix != ".lock"]


@pytest.mark.slow
def test_a_bundle_in_an_object_store_is_the_one_on_disk(s3_root: str, cache: Path) -> None:
    folder, url = find_bundle("miniature"), storage.join(s3_root, "bundles", "mine")
    for path in folder.rglob("*"):
        if path.is_file():
            storage.put_if_absent(storage.join(url, path.relative_to(folder).as_posix()), path.read_bytes())
    adapters = ["blended"]
    assert bundle_digest(url, adapters) == bundle_digest("miniature", adapters)
    assert load_bundle(url, adapters).digest == bundle_digest("miniature", adapters)
    (copy,) = copies(cache)
    before = copy.stat().st_mtime_ns
    assert find_bundle(url) == copy
    assert copy.stat().st_mtime_ns == before, "an unchanged bundle is not copied again"
    with pytest.raises(BundleError) as caught:
        load_bundle(url, ["depth"])
    assert caught.value.file == f"{url}/adapters"
    storage.overwrite(storage.join(url, "unet", "config.json"), b"{}")
    assert find_bundle(url) != copy
    missing = storage.join(s3_root, "bundles", "other")
    with pytest.raises(BundleError) as caught:
        find_bundle(missing)
    assert caught.value.file == missing


def test_names_and_contents_are_those_of_the_folder(remote: str, cache: Path) -> None:
    copy = local_copy(remote)
    found = {file.relative_to(copy).as_posix(): file.read_bytes() for file in copy.rglob("*") if file.is_file()}
    assert found == {"unet/config.json": b"{}", "unet/weights.safetensors": b"0123456789"}
    assert copies(cache) == [copy], "no temporary folder is left behind"


def test_a_failed_copy_leaves_nothing_behind(remote: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    actual = storage.open_read

    def failing(url: str) -> object:
        if url.endswith(".safetensors"):
            raise OSError("connection reset")
        return actual(url)

    monkeypatch.setattr(storage, "open_read", failing)
    with pytest.raises(BundleError) as caught:
        local_copy(remote)
    assert caught.value.file.endswith("weights.safetensors")
    assert copies(cache) == []


@pytest.mark.slow
def test_of_many_processes_one_copies_and_the_others_wait(tmp_path: Path, cache: Path) -> None:
    """Processes, because locks belong to them; the slow copy of one leaves the others time to start their own."""
    source, log = tmp_path / "source", tmp_path / "fetched"
    source.mkdir()
    for number in range(3):
        (source / f"{number}.safetensors").write_bytes(b"0123456789")
    code = (
        "import time\nfrom dentgen.models import bundle_source\nfetch = bundle_source._fetch_all\n"
        f"def slow(*words):\n    open({str(log)!r}, 'a').write('x')\n    time.sleep(1)\n    fetch(*words)\n"
        f"bundle_source._fetch_all = slow\nprint(bundle_source.local_copy({source.as_uri()!r}))\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    found = {process.communicate(timeout=300)[0].strip() for process in running}
    assert found == {str(copy) for copy in copies(cache)}
    assert log.read_text() == "x"


def test_large_files_are_copied_in_constant_memory(cache: Path) -> None:
    size = 128 << 20
    local = cache.parent / "source" / "weights.safetensors"
    local.parent.mkdir(parents=True)
    with local.open("wb") as file:
        file.truncate(size)
    tracemalloc.start()
    copy = local_copy(local.parent.as_uri())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (copy / local.name).stat().st_size == size
    assert peak < size / 2


def test_an_unknown_hub_id_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BundleError) as caught:
        download("nobody/nothing at all")
    assert caught.value.file == "nobody/nothing at all"


def test_without_a_connection_what_was_downloaded_before_is_used_or_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def silent(*_: object, **__: object) -> list[str]:
        raise NO_CONNECTION("no route to host")

    monkeypatch.setattr(HfApi, "list_repo_files", silent)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BundleError) as caught:
        download("nobody/nothing")
    assert caught.value.file == "nobody/nothing"
    snapshot = tmp_path / "models--nobody--nothing" / "snapshots" / ("0" * 40)
    (snapshot / "unet").mkdir(parents=True)
    (snapshot / "unet" / "config.json").write_text("{}")
    (tmp_path / "models--nobody--nothing" / "refs").mkdir()
    (tmp_path / "models--nobody--nothing" / "refs" / "main").write_text("0" * 40)
    assert download("nobody/nothing") == snapshot
