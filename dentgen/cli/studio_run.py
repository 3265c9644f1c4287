"""The process behind ``dentgen studio``: what it loads, serves, says, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import webbrowser
from pathlib import Path

import typer

from dentgen.cli.demo import spec_or_demo
from dentgen.curation.check_sheet import draw_sheet
from dentgen.errors import SpecError
from dentgen.generation.generator import load_generator
from dentgen.generation.live_control import check_spec
from dentgen.redaction import shown_name
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import read_spec
from dentgen.studio.access import is_loopback
from dentgen.studio.openers import Places, opened, phantom
from dentgen.studio.review import REVIEW, Review
from dentgen.studio.server import Binding, serve
from dentgen.studio.session import Session


def studio_spec(spec: Path | None, overrides: list[str] | None, place: str | None) -> tuple[BuildSpec, str]:
    """The spec, and where records come from: "" where nothing says so.

    Raises:
        SpecError: If the spec is wrong.
    """
    file, changes = spec_or_demo(spec, overrides)
    build_spec = read_spec(file, changes)
    given = "path" in build_spec.source.model_fields_set
    return build_spec, place if place is not None else build_spec.source.path if given else ""


def run_studio(
    spec: BuildSpec, place: str, save: Path, *, host: str, port: int, browser: bool, token: bool,
    review: str | None = None,
) -> None:  # fmt: skip
    """Load the models and serve until Ctrl-C.

    Raises:
        SpecError: If others could come in without a token, the address cannot be used, or the spec asks for what a live
            canvas has not.
    """
    if not token and not is_loopback(host):
        raise SpecError(
            key="--no-token", found=f"host {host}", expected="a loopback address, which no one else reaches"
        )
    check_spec(spec)
    sheet = None if review is None else Review(review, draw_sheet(review))
    generator, places = load_generator(spec), Places()
    base = generator.spec
    if place:
        number = places.add(place)
        record = opened(places.record(number, 0).read(), base)
    else:
        record = phantom(0, "frontal", base)
    session = Session(generator, record, save, places)
    binding = Binding(host, port, secrets.token_urlsafe(24) if token else "")
    try:
        asyncio.run(_serve(session, binding, sheet, browser=browser))
    except OSError as error:
        raise SpecError(str(error), key="--host, --port", found=f"{host}:{port}", expected="a free address") from error


async def _serve(session: Session, binding: Binding, review: Review | None, *, browser: bool) -> None:
    """Serve until a signal comes."""

    def ready(address: str) -> None:
        if review is not None:
            start, mark, token = address.partition("?")
            typer.echo(f"check sheet: {start.rstrip('/')}{REVIEW}{mark}{token}")
        _say(address, browser=browser)

    serving = asyncio.ensure_future(serve(session, binding, ready, review))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


def _say(address: str, *, browser: bool) -> None:
    typer.echo(f"studio: {shown_name(address)}" if "token" not in address else f"studio: {address}")
    if browser:
        with contextlib.suppress(webbrowser.Error):
            webbrowser.open(address)
