"""Templates are the files in ``cluster/kuberay/``, in a checkout and in a wheel."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from dentgen.cluster import templates
from dentgen.cluster.templates import read_manifest, read_manifests
from dentgen.errors import SpecError
from tests.cluster.kustomize import KUBERAY, load
from tests.conftest import ROOT


def test_templates_are_the_files_of_the_repository() -> None:
    assert read_manifests("schedule/rbac.yaml") == load(KUBERAY / "schedule" / "rbac.yaml")


def test_a_change_at_one_place_changes_no_other() -> None:
    """In the file, anchors share what pods have in common."""
    job = read_manifest("base/rayjob.yaml")
    cluster = job["spec"]["rayClusterSpec"]
    cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] = "2"
    assert cluster["workerGroupSpecs"][1]["rayStartParams"]["num-cpus"] == "0"


def test_the_files_go_into_the_wheel_at_the_place_where_they_are_looked_for() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert build["force-include"]["cluster/kuberay"] == "dentgen/cluster/kuberay"
    assert templates._PLACES[0] == ROOT / "dentgen" / "cluster" / "kuberay"


def test_an_installed_package_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.yaml").write_text("kind: Installed\n")
    monkeypatch.setattr(templates, "_PLACES", (tmp_path, KUBERAY))
    assert read_manifest("x.yaml") == {"kind": "Installed"}
    assert read_manifest("base/rayjob.yaml")["kind"] == "RayJob"


def test_a_missing_file_is_named() -> None:
    with pytest.raises(SpecError) as error:
        read_manifest("base/none.yaml")
    assert error.value.file.endswith("kuberay/base/none.yaml")
