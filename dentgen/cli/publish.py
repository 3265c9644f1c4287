"""``dentgen publish``: a finished build on the Hugging Face hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dentgen.cli.progress import ConsoleProgress, announce
from dentgen.redaction import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dentgen.export.publication.publish import Publication


def publish(
    out: Annotated[str, typer.Argument(metavar="OUT", help="A finished build.")],
    address: Annotated[str, typer.Argument(metavar="hf://ORG/NAME", help="Dataset repository of the hub.")],
    *,
    upload: Annotated[bool, typer.Option("--upload", help="Upload; without it, only say what would be done.")] = False,
    public: Annotated[bool, typer.Option("--public", help="A new repository is public; default: private.")] = False,
    allow_photographs: Annotated[
        bool, typer.Option("--allow-photographs", help="Publish pictures generated from photographs of people, too.")
    ] = False,
) -> None:
    """Publish a finished build on the Hugging Face hub.

    Uploads the shards that the index names, card, Croissant metadata, table of samples, plan and report; nothing else
    of the folder. Without --upload nothing is written. An interrupted upload continues. The token is read from HF_TOKEN
    or from 'hf auth login'.

    Example: dentgen publish out/demo hf://my-clinic/teeth
    """
    announce(f"publish: {out} to {address}")
    from dentgen.export.publication import publish as publication
    from dentgen.export.publication.hub import HubRepository
    from dentgen.export.publication.release import read_release

    repository = HubRepository.of(address)
    work = publication.prepare(read_release(out, allow_photographs=allow_photographs), repository)
    for line in _description(work, public=public):
        typer.echo(shown(line))
    if not upload:
        typer.echo("nothing was uploaded: --upload does it")
        return
    with ConsoleProgress("uploading", "shard") as progress:
        publication.publish(work, private=not public, progress=progress)
    typer.echo(f"published: {repository.url}")


def _description(work: Publication, *, public: bool) -> Iterator[str]:
    release = work.release
    index, kind = release.index, "public" if public else "private"
    size = f"{len(index.shards)} shards, {sum(shard.bytes for shard in index.shards) / 1e6:.1f} MB"
    yield f"{index.written} samples in {size}, version {index.version}"
    there = {None: f"to be created, {kind}", True: "exists, PUBLIC", False: "exists, private"}[work.is_public]
    yield f"repository {work.repository.id}: {there}"
    yield f"to upload: {len(work.pending)} shards, {', '.join(release.documents)}"
    missing = "none of this version: 'dentgen certify' makes one"
    yield f"certificate: {missing if release.certificate is None else 'published, and quoted by the card'}"
    yield f"license of the model bundle: {' + '.join(release.plan.bundle_licenses) or 'not declared'}"
    yield f"names of patients and records, which every sample tells: {', '.join(release.names)} ..."
    yield from (f"restrictions on use, which the card passes on: {url}" for url in release.restrictions)
