"""``dentgen cluster``: builds on Kubernetes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(no_args_is_help=True, help="Builds on Kubernetes.")

KindName = Literal["rayjob", "cronjob", "raycronjob"]


@app.command()
def render(
    spec: Annotated[Path, typer.Argument(help="Build spec, YAML.")],
    image: Annotated[str, typer.Option(help="Image of all pods, with a tag or a digest.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Replace one key of the spec.")
    ] = None,
    *,
    kind: Annotated[
        KindName, typer.Option(help="Once, on a schedule of Kubernetes, or on one of KubeRay, which is alpha.")
    ] = "rayjob",
    gpus: Annotated[int, typer.Option(min=1, help="GPUs, all of one model, one actor each.")] = 1,
    spot: Annotated[bool, typer.Option("--spot", help="All GPUs but the first one are spot capacity.")] = False,
    schedule: Annotated[
        str | None, typer.Option(metavar="CRON", help="When to build, as '0 3 * * *'; for a cronjob or raycronjob.")
    ] = None,
    time_zone: Annotated[str, typer.Option(metavar="ZONE", help="Time zone of the schedule.")] = "Etc/UTC",
    name: Annotated[str, typer.Option(help="Name of the objects.")] = "dentgen",
    namespace: Annotated[str, typer.Option(help="Namespace of the objects.")] = "dentgen",
    service_account: Annotated[str, typer.Option(help="Service account of the pods.")] = "dentgen",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="File to write; default: print.")] = None,
) -> None:
    """Print the manifests that run a build on KubeRay.

    The spec becomes a ConfigMap. Specs with local paths or secrets are refused.

    Example: dentgen cluster render jobs/specs/demo.yaml --set source.path=s3://bucket/conditions --set
    output.path=s3://bucket/demo --image registry.example.com/dentgen:0.2.0 --gpus 8
    """
    from dentgen.cluster.manifests import ClusterRun, as_yaml, manifests
    from dentgen.spec.yaml_file import read_spec

    run = ClusterRun(kind, image, gpus, spot, schedule, time_zone, name, namespace, service_account)
    text = as_yaml(manifests(read_spec(spec, set_ or ()), spec, run))
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text)
        typer.echo(str(out), err=True)


@app.command()
def start(
    template: Annotated[str, typer.Argument(help="A suspended RayJob.")],
    name: Annotated[str, typer.Option(help="Name of the copy; nothing happens if there is one.")],
    owner: Annotated[str | None, typer.Option(metavar="UID", help="Job to be removed with.")] = None,
) -> None:
    """Start a copy of a suspended RayJob; what a CronJob calls in its pod.

    Example: dentgen cluster start dentgen --name dentgen-29012345
    """
    from dentgen.cluster.tick import RayJobs, start_copy

    started = start_copy(RayJobs.of_this_pod(), template, name, owner)
    typer.echo(f"RayJob {name}: {'started' if started else 'is there already, nothing to do'}")
