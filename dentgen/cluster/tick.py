"""A tick of a CronJob: a copy of a suspended RayJob is created, which then runs."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dentgen.errors import BuildError

_SERVER: Final = "kubernetes.default.svc"
_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT_S: Final = 30.0
_CONFLICT: Final = 409


@dataclass(frozen=True, slots=True)
class RayJobs:
    """The RayJobs of a namespace, over the API of Kubernetes.

    Attributes:
        connect: Opens a connection to the server.
        token: Of the service account.
        namespace: The namespace.
    """

    connect: Callable[[], http.client.HTTPConnection]
    token: str
    namespace: str

    @classmethod
    def of_this_pod(cls, account: Path = _ACCOUNT) -> RayJobs:
        """Those of the namespace in which this pod runs.

        Args:
            account: Folder in which Kubernetes puts the token.

        Raises:
            BuildError: If this is no pod with a service account.
        """
        try:
            token, namespace = (account / "token").read_text(), (account / "namespace").read_text()
            context = ssl.create_default_context(cafile=str(account / "ca.crt"))
        except OSError as error:
            raise BuildError(
                file=str(account), found=f"no service account: {error}", expected="a pod of Kubernetes with one"
            ) from error
        return cls(
            lambda: http.client.HTTPSConnection(_SERVER, timeout=_TIMEOUT_S, context=context),
            token.strip(),
            namespace.strip(),
        )

    def request(self, method: str, name: str = "", body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """The server's status and answer.

        Raises:
            BuildError: If it cannot be reached, or answers with anything but JSON.
        """
        path = f"/apis/ray.io/v1/namespaces/{self.namespace}/rayjobs" + (f"/{name}" if name else "")
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection = self.connect()
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise BuildError(f"the API of Kubernetes failed: {error}", file=path) from error
        finally:
            connection.close()


def start_copy(jobs: RayJobs, template: str, name: str, owner: str | None = None) -> bool:
    """Create a copy of a RayJob that is not suspended.

    Args:
        jobs: The RayJobs of the namespace.
        template: Name of the suspended one.
        name: Of the copy; a tick that is delivered twice has the same name twice.
        owner: uid of the Job of that name that this pod belongs to: the copy is removed with it.

    Returns:
        Whether it was created now; otherwise there is one of that name.

    Raises:
        BuildError: If there is no such template, or Kubernetes refuses.
    """
    status, found = jobs.request("GET", template)
    if status != http.client.OK:
        raise _refused(template, status, found)
    status, answer = jobs.request("POST", body=_copy(found, name, owner))
    if status not in {http.client.CREATED, _CONFLICT}:
        raise _refused(name, status, answer)
    return status == http.client.CREATED


def _copy(template: dict[str, Any], name: str, owner: str | None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "labels": template["metadata"].get("labels", {})}
    if owner is not None:
        metadata["ownerReferences"] = [{"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": owner}]
    head = {key: template[key] for key in ("apiVersion", "kind")}
    return {**head, "metadata": metadata, "spec": {**template["spec"], "suspend": False}}


def _refused(name: str, status: int, answer: dict[str, Any]) -> BuildError:
    return BuildError(
        str(answer.get("message", "")),
        key=f"RayJob {name}",
        found=f"status {status}",
        expected="200, or 201 if created",
    )
