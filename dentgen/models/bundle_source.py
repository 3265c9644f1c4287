"""Local copies of remote bundles, from object stores and the Hugging Face hub, downloaded once and cached."""

from __future__ import annotations

import glob
import hashlib
import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from dentgen import storage
from dentgen.errors import BundleError, StorageError
from dentgen.models.bundle_files import downloaded_names
from dentgen.models.file_digest import cache_folder
from dentgen.storage.hub_errors import HUB_ERRORS, NO_CONNECTION
from dentgen.storage.local_files import lock

_LOG = logging.getLogger(__name__)

_CHUNK_BYTES: Final = 16 << 20


def local_copy(url: str) -> Path:
    """A copy of a remote folder in the user's cache, reused while names, sizes and tags of its files do not change.

    The cache is ``$DENTGEN_CACHE``, by default ``~/.cache/dentgen``. The copy appears atomically, by a rename. Of all
    processes of a machine that ask for it, one downloads it and the others wait, where the cache's file system has
    locks.

    Raises:
        BundleError: If the folder cannot be read or is empty.
    """
    try:
        files = sorted(storage.list_files(url), key=lambda file: file.url)
        state = "\n".join(f"{file.url} {file.size} {file.tag}" for file in files)
        home = cache_folder() / "bundles"
        copy = home / hashlib.sha256(state.encode()).hexdigest()
        if not copy.is_dir():
            with _only_one(copy):
                if not copy.is_dir():  # another process may have had it first
                    _fetch_all(url, [file.url for file in files], copy)
    except StorageError as error:
        raise BundleError(f"cannot be downloaded: {error}", file=url) from error
    return copy


@contextmanager
def _only_one(copy: Path) -> Iterator[None]:
    """Hold the lock of a copy, which a process loses when it ends, however it does."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    with copy.with_suffix(".lock").open("a") as file:
        try:
            lock(file, copy)
        except StorageError:
            _LOG.warning("%s has no file locks: every actor of a machine downloads the bundle", copy.parent)
        yield


def _fetch_all(url: str, files: Sequence[str], final: Path) -> None:
    """Copy files of a remote folder into a temporary folder and rename that; nothing is left behind on errors."""
    temporary = Path(tempfile.mkdtemp(dir=final.parent))
    try:
        for file in files:
            _fetch(file, temporary, storage.relative_name(url, file))
        _publish(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _fetch(url: str, folder: Path, name: str) -> None:
    target = (folder / name).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise BundleError(file=url, found="a name that points outside the bundle", expected="names inside its folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with storage.open_read(url) as source, target.open("wb") as copied:
            shutil.copyfileobj(source, copied, _CHUNK_BYTES)
    except OSError as error:
        raise BundleError(f"cannot be downloaded: {error}", file=url) from error


def _publish(temporary: Path, final: Path) -> None:
    try:
        temporary.rename(final)
    except OSError:
        if not final.is_dir():  # otherwise another process was faster
            raise


def download(name: str) -> Path:
    """Download a bundle from the hub by its id, into the hub's own cache.

    Raises:
        BundleError: If there is neither such a folder nor such a model on the hub.
    """
    try:
        return Path(snapshot_download(name, allow_patterns=[glob.escape(file) for file in _wanted(name)]))
    except HfHubHTTPError as error:  # an answer; what follows are requests without one
        raise _no_bundle(name, error) from error
    except (OfflineModeIsEnabled, NO_CONNECTION):
        return _downloaded(name)
    except HUB_ERRORS as error:
        raise _no_bundle(name, error) from error


def _wanted(name: str) -> list[str]:
    """Files of a hub model that are loaded: no other variants, formats and parts, which may have many gigabytes."""
    wanted = downloaded_names(HfApi().list_repo_files(name))
    if not wanted:
        expected = "the folders of Stable Diffusion 1.5's layout"
        raise BundleError(file=name, found="no file of a bundle on the hub", expected=expected)
    return wanted


def _downloaded(name: str) -> Path:
    """What was downloaded before; what is missing of it is found when it is loaded."""
    try:
        return Path(snapshot_download(name, local_files_only=True, allow_patterns=["*/config.json"]))
    except HUB_ERRORS as error:
        raise _no_bundle(name, error) from error


def _no_bundle(name: str, error: Exception) -> BundleError:
    message = f"neither an existing folder nor a model that can be downloaded from the hub: {error}"
    return BundleError(message, file=name)
