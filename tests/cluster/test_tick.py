"""Ticks of a CronJob, against a server that answers as the API of Kubernetes does."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from dentgen.cluster.manifests import ClusterRun, manifests
from dentgen.cluster.tick import RayJobs, start_copy
from dentgen.errors import BuildError
from tests.cluster.api_server import NAMESPACE, ApiServer, running_api
from tests.cluster.kustomize import one
from tests.cluster.test_manifests import spec
from tests.cluster.validation import faults, needs_kuberay


@pytest.fixture
def api() -> Iterator[ApiServer]:
    """A namespace with the suspended RayJob of a schedule, as Kubernetes stores it."""
    run = ClusterRun("cronjob", "registry.example.com/dentgen:7", gpus=8, namespace=NAMESPACE, schedule="@daily")
    job = one(manifests(spec(), "build.yaml", run), "RayJob")
    job["metadata"] |= {"uid": "u-1", "resourceVersion": "7", "creationTimestamp": "2026-11-29T03:00:00Z"}
    job["status"] = {"jobDeploymentStatus": "Suspended"}
    with running_api() as server:
        server.jobs["dentgen"] = job
        yield server


@needs_kuberay
def test_a_tick_starts_a_copy_that_runs(api: ApiServer) -> None:
    assert start_copy(api.account(), "dentgen", "dentgen-29012345", owner="job-uid")
    copy, template = api.jobs["dentgen-29012345"], api.jobs["dentgen"]
    assert faults(copy) == []
    assert copy["spec"] == {**template["spec"], "suspend": False}
    assert template["spec"]["suspend"] is True
    assert copy.keys() == {"apiVersion", "kind", "metadata", "spec"}, "nothing of the template's state"
    assert copy["metadata"] == {
        "name": "dentgen-29012345",
        "labels": template["metadata"]["labels"],
        "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "dentgen-29012345", "uid": "job-uid"}],
    }


def test_a_tick_that_comes_twice_starts_one(api: ApiServer) -> None:
    assert start_copy(api.account(), "dentgen", "dentgen-1")
    first = api.jobs["dentgen-1"]
    assert not start_copy(api.account(), "dentgen", "dentgen-1")
    assert api.jobs["dentgen-1"] is first
    assert start_copy(api.account(), "dentgen", "dentgen-2")
    assert "ownerReferences" not in first["metadata"]


def test_a_missing_template_is_an_error(api: ApiServer) -> None:
    with pytest.raises(BuildError) as error:
        start_copy(api.account(), "kids", "kids-1")
    assert (error.value.key, error.value.found) == ("RayJob kids", "status 404")
    assert api.jobs.keys() == {"dentgen"}


def test_a_refusal_of_the_server_is_told(api: ApiServer) -> None:
    with pytest.raises(BuildError) as error:
        start_copy(api.account("another"), "dentgen", "dentgen-1")
    assert error.value.found == "status 403"
    assert "forbidden" in error.value.message


def test_an_answer_that_is_no_json_is_an_error(api: ApiServer) -> None:
    api.broken = True
    with pytest.raises(BuildError) as error:
        start_copy(api.account(), "dentgen", "dentgen-1")
    assert error.value.file == f"/apis/ray.io/v1/namespaces/{NAMESPACE}/rayjobs/dentgen"


def test_a_server_that_is_away_is_an_error() -> None:
    with running_api() as gone:
        account = gone.account()
    with pytest.raises(BuildError) as error:
        start_copy(account, "dentgen", "dentgen-1")
    assert error.value.file.endswith("/rayjobs/dentgen")


def test_a_pod_knows_its_account(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    (tmp_path / "namespace").write_text("research")
    authorities = ssl.get_default_verify_paths().cafile
    if authorities is None:
        pytest.skip("no certificates are installed")
    shutil.copy(authorities, tmp_path / "ca.crt")
    jobs = RayJobs.of_this_pod(tmp_path)
    assert (jobs.token, jobs.namespace) == ("abc", "research")
    connection = jobs.connect()
    assert (connection.host, connection.port) == ("kubernetes.default.svc", 443)


def test_outside_of_a_cluster_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as error:
        RayJobs.of_this_pod(tmp_path / "none")
    assert error.value.file == str(tmp_path / "none")
