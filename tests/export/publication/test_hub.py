"""Addresses of the hub and what it answers."""

from __future__ import annotations

import pytest
from huggingface_hub import HfApi

from dentgen.errors import SpecError, StorageError
from dentgen.export.publication.hub import HubRepository
from tests.export.publication.hub_server import Hub


@pytest.mark.parametrize("address", ["hf://clinic/teeth", "hf://datasets/clinic/teeth"])
def test_addresses(address: str) -> None:
    assert HubRepository.of(address).id == "clinic/teeth"


@pytest.mark.parametrize("address", ["clinic/teeth", "hf://teeth", "s3://clinic/teeth", "hf://a/b/c", "hf://a/b?x"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(SpecError) as caught:
        HubRepository.of(address)
    assert caught.value.found == address


def test_large_files_are_known_by_their_digest(repository: HubRepository, hub: Hub) -> None:
    assert repository.is_public() is None
    hub.repositories["clinic/teeth"] = {"a.tar": b"", "README.md": b""}
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert repository.files() == {"a.tar": empty, "README.md": ""}


def test_a_gated_repository_is_not_one_to_be_created(repository: HubRepository, hub: Hub) -> None:
    hub.gated.add("clinic/teeth")
    with pytest.raises(StorageError) as caught:
        repository.is_public()
    assert caught.value.file == "hf://clinic/teeth"


def test_a_token_is_sent_and_an_existing_repository_is_taken(repository: HubRepository, hub: Hub) -> None:
    repository.create(private=False)
    repository.create(private=True)
    assert hub.private == {"clinic/teeth": False}
    assert hub.tokens == {"Bearer hf_secret"}


def test_a_hub_that_cannot_be_reached_is_an_error() -> None:
    closed = HubRepository.of("hf://clinic/teeth", HfApi(endpoint="http://127.0.0.1:9", token="hf_secret"))
    with pytest.raises(StorageError) as caught:
        closed.create(private=True)
    assert caught.value.file == "hf://clinic/teeth"
