"""Damage is found, repaired and cleaned up by commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.cli.running import Finished
from tests.conftest import small_spec


@pytest.mark.integration
def test_damage_is_exit_code_1_and_repaired(small_source: Path, tmp_path: Path, here: Callable[..., Finished]) -> None:
    out, spec = tmp_path / "out", tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump(small_spec(small_source, out).model_dump(mode="json")))
    assert here("generate", str(spec), "--no-ray").returncode == 0
    (out / "shards" / "000001.tar").unlink()
    stray = out / "orphans" / "000001-0123456789abcdef.tar"
    stray.parent.mkdir()
    stray.write_bytes(b"stray")
    broken = here("verify", str(out))
    assert broken.returncode == 1
    assert "shards/000001.tar: missing" in broken.stderr
    repaired = here("repair", str(out), "--no-ray")
    assert repaired.returncode == 0, repaired.stderr
    assert "1 problems, 1 units regenerated, 0 left" in repaired.stdout
    assert stray.name in here("gc", str(out)).stdout
    assert stray.exists(), "listing removes nothing"
    assert "1 files, 5 bytes removed" in here("gc", str(out), "--remove").stdout
    assert not stray.exists()
