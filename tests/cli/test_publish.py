"""``dentgen publish``: a dry run by default."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from dentgen.cli.app import app
from tests.export.publication.conftest import finished
from tests.export.publication.hub_server import running_hub


def test_nothing_is_uploaded_unless_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    arguments = ["publish", str(finished(tmp_path, 2)), "hf://clinic/teeth"]
    with running_hub() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
        dry = CliRunner().invoke(app, arguments)
        assert dry.exit_code == 0, dry.output
        assert "to be created, private" in dry.stdout
        assert "nothing was uploaded" in dry.stdout
        assert hub.repositories == {}
        real = CliRunner().invoke(app, [*arguments, "--upload"], env={"HF_TOKEN": "hf_secret"})
        assert real.exit_code == 0, real.output
        assert f"published: {hub.endpoint}/datasets/clinic/teeth" in real.stdout
        assert "hf_secret" not in real.output
        assert "index.json" in hub.repositories["clinic/teeth"]
