"""Where bundles that are not on this machine come from: object stores and the hub, fetched once and kept.

A copy is whole or absent: it is made beside its place and renamed. Refuses to know what a bundle holds.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from dentgen import storage
from dentgen.errors import BundleError, StorageError


def local_copy(url: str) -> Path:
    """A copy of a remote folder in the user's cache, used again as long as the folder's files do not change.

    Raises:
        BundleError: If the folder cannot be read or is empty.
    """
    try:
        files = sorted(storage.list_files(url), key=lambda file: file.url)
        state = "\n".join(f"{file.url} {file.size} {file.tag}" for file in files)
        home = Path(os.environ.get("DENTGEN_CACHE", Path.home() / ".cache" / "dentgen")) / "bundles"
        copy = home / hashlib.sha256(state.encode()).hexdigest()
        if not copy.is_dir():
            home.mkdir(parents=True, exist_ok=True)
            begun = Path(tempfile.mkdtemp(dir=home))
            for file in files:
                _fetch(file.url, begun, storage.relative_name(url, file.url))
            _publish(begun, copy)
    except StorageError as error:
        raise BundleError(f"{url}: {error}") from error
    return copy


def _fetch(url: str, folder: Path, name: str) -> None:
    target = (folder / name).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise BundleError(f"{url}: found a name that leads out of the bundle, expected files of its own")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(storage.read_bytes(url))


def _publish(begun: Path, final: Path) -> None:
    try:
        begun.rename(final)
    except OSError:
        shutil.rmtree(begun)
        if not final.is_dir():  # otherwise another process was faster
            raise


def download(name: str) -> Path:
    """A hub id's copy in the hub's own cache.

    Raises:
        BundleError: If the hub does not give it.
    """
    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.txt", "*/*.safetensors"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, ValueError, OSError) as error:
        raise BundleError(f"{name}: neither a folder here nor a model that the hub gives: {error}") from error
