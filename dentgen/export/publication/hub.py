"""A dataset repository of the Hugging Face hub: its address, what it holds, and uploads into it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from dentgen.documents.index import DatasetIndex
from dentgen.errors import SpecError, StorageError
from dentgen.shards import layout
from dentgen.storage.hub_errors import HUB_ERRORS

_ADDRESS: Final = re.compile(r"hf://(?:datasets/)?(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)", re.ASCII)
_TYPE: Final = "dataset"


@dataclass(frozen=True, slots=True)
class HubRepository:
    """A dataset repository.

    Attributes:
        owner: Organization or user.
        name: Name of the dataset.
        api: Client of the hub, which knows endpoint and token.
    """

    owner: str
    name: str
    api: HfApi

    @classmethod
    def of(cls, address: str, api: HfApi | None = None) -> HubRepository:
        """The repository at an address such as ``hf://ORG/NAME`` or ``hf://datasets/ORG/NAME``.

        Raises:
            SpecError: If it is no such address.
        """
        found = _ADDRESS.fullmatch(address)
        if found is None:
            raise SpecError(key="address", found=address, expected="hf://ORG/NAME")
        return cls(found["owner"], found["name"], api or HfApi())

    @property
    def id(self) -> str:
        """Id on the hub."""
        return f"{self.owner}/{self.name}"

    @property
    def url(self) -> str:
        """Address of the dataset's page."""
        return f"{self.api.endpoint}/datasets/{self.id}"

    def is_public(self) -> bool | None:
        """Whether everybody can see the repository; None if there is none.

        Raises:
            StorageError: If the hub cannot be asked, or lets only others see it.
        """
        with self._errors("cannot be read"):
            try:
                return not self.api.repo_info(self.id, repo_type=_TYPE).private
            except GatedRepoError:  # for the library, a repository that is not found
                raise
            except RepositoryNotFoundError:
                return None

    def files(self) -> Mapping[str, str]:
        """sha256 by name of every file of a repository that exists, "" for small ones.

        Raises:
            StorageError: If the hub cannot be asked.
        """
        with self._errors("cannot be read"):
            entries = list(self.api.list_repo_tree(self.id, recursive=True, repo_type=_TYPE))
        return {file.path: file.lfs.sha256 if file.lfs else "" for file in entries if isinstance(file, RepoFile)}

    def index(self) -> DatasetIndex:
        """The index of the dataset that is there; only to be asked for if ``files`` has one.

        Raises:
            StorageError: If it cannot be read.
        """
        with self._errors("cannot be read"), tempfile.TemporaryDirectory() as folder:
            file = self.api.hf_hub_download(self.id, layout.INDEX, repo_type=_TYPE, local_dir=folder)
            return DatasetIndex.model_validate_json(Path(file).read_bytes())

    def create(self, *, private: bool) -> None:
        """Create the repository if there is none.

        Raises:
            StorageError: If it cannot be created.
        """
        with self._errors("cannot be created"):
            self.api.create_repo(self.id, private=private, repo_type=_TYPE, exist_ok=True)

    def upload(self, folder: Path, message: str) -> None:
        """Commit the files of a folder; those that are there already are not sent again.

        Raises:
            StorageError: If the upload fails.
        """
        with self._errors("cannot be uploaded"):
            self.api.upload_folder(repo_id=self.id, folder_path=folder, repo_type=_TYPE, commit_message=message)

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except (*HUB_ERRORS, RuntimeError) as error:  # a file that fails within an upload is a RuntimeError
            cause = f": {error.__cause__}" if error.__cause__ else ""
            raise StorageError(f"{what}: {error}{cause}", file=f"hf://{self.id}") from error
