"""``dentgen train``: a wrong spec is wrong use, with its key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.cli.running import Finished


def test_a_wrong_training_spec_is_exit_code_2_and_names_the_key(tmp_path: Path, here: Callable[..., Finished]) -> None:
    (tmp_path / "t.yaml").write_text("recipe: adapter\nstpes: 4\n")
    run = here("train", str(tmp_path / "t.yaml"))
    assert run.returncode == 2
    assert "stpes" in run.stderr
    assert run.stderr.startswith("train: ")
