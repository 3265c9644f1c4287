"""Errors of the hub's client."""

from __future__ import annotations

import pytest
from huggingface_hub import HfApi

from dentgen.storage.hub_errors import HUB_ERRORS, NO_CONNECTION


def test_a_server_that_is_not_there_is_among_them() -> None:
    with pytest.raises(NO_CONNECTION) as caught:
        HfApi(endpoint="http://127.0.0.1:9").create_repo("a/b", repo_type="dataset")
    assert isinstance(caught.value, HUB_ERRORS)
