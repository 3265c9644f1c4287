"""Fixtures for reading Croissant metadata."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def croissant_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let mlcroissant unpack archives into a folder of the test: its cache is by URL, and those are relative here."""
    from mlcroissant._src.operation_graph.operations import extract

    monkeypatch.setattr(extract, "EXTRACT_PATH", extract.EXTRACT_PATH.__class__(tmp_path / "extracted"))
