"""``cluster/README.md``: what it names is there, and what it says of the files is so."""

from __future__ import annotations

import re

from tests.cluster.kustomize import KUBERAY, OVERLAYS
from tests.cluster.test_kuberay import MISTAKES
from tests.conftest import ROOT

README = (ROOT / "cluster" / "README.md").read_text()


def test_files_in_commands_are_there() -> None:
    names = set(re.findall(r"(?:file://)?(cluster/[\w./-]+)", README))
    assert {name for name in names if not (ROOT / name).exists()} == set()
    assert {f"cluster/kuberay/{name}" for name in ("setup", "overlays/eight-gpus")} <= names


def test_files_beside_it_are_there() -> None:
    names = set(re.findall(r"`((?:kuberay|ray-up|identity|overlays)/[\w./-]*)`", README))
    places = [ROOT / "cluster", KUBERAY]
    assert {name for name in names if not any((place / name).exists() for place in places)} == set()
    assert {"ray-up/aws.yaml", "kuberay/raycluster.yaml", "identity/aws"} <= names


def test_every_overlay_is_in_the_table() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (\d) \|", README, re.MULTILINE)
    assert rows == [("one-gpu", "1"), ("eight-gpus", "8"), ("spot", "8")]
    assert [name for name, _ in rows] == list(OVERLAYS)


def test_it_is_as_honest_as_promised() -> None:
    assert "Nothing of this ran on a real cluster yet" in README
    assert len(MISTAKES) > 20, "some twenty planted mistakes"
