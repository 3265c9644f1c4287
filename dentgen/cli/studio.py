"""``dentgen studio``: paint condition maps in a browser, and see pictures stream beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dentgen.cli.build_options import Overrides


def studio(
    spec: Annotated[
        Path | None, typer.Argument(help="Build spec whose model and settings are used; default: the demo's.")
    ] = None,
    set_: Overrides = None,
    *,
    open_: Annotated[
        str | None,
        typer.Option("--open", metavar="RECORDS", help="Folder or URL of condition records; default: the spec's."),
    ] = None,
    save: Annotated[Path, typer.Option(metavar="DIR", help="Where documents are saved.")] = Path("studio"),
    host: Annotated[str, typer.Option(help="Address to listen at; others than this machine's need the token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser if there is one.")] = True,
    review: Annotated[
        str | None, typer.Option(metavar="OUT", help="Also serve the check sheet of a finished build, at /review.")
    ] = None,
    token: Annotated[bool, typer.Option("--token/--no-token", help="Ask visitors for the token of the address.")] = (
        True
    ),
) -> None:
    """Paint with meanings in a browser: maps on the left, pictures as they stream beside them.

    Prints the address. Ctrl-C ends it.

    Example: dentgen studio --open jobs/demo --save work/studio
    """
    from dentgen.cli.progress import announce
    from dentgen.cli.studio_run import run_studio, studio_spec

    announce("studio: loading the model")
    build_spec, place = studio_spec(spec, set_, open_)
    run_studio(build_spec, place, save, host=host, port=port, browser=browser, token=token, review=review)
