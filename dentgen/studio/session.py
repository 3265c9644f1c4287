"""What happens when a browser asks for something: one document, one engine, any number of browsers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from dentgen.errors import BuildError, DentgenError
from dentgen.generation.generator import Generator
from dentgen.records import ConditionRecord
from dentgen.shards.tar import png_bytes
from dentgen.studio import messages as ask
from dentgen.studio.browsers import Browser, Browsers, text
from dentgen.studio.judging import Figures, Judging
from dentgen.studio.messages import Message, binary
from dentgen.studio.openers import Places, empty, opened, phantom
from dentgen.studio.overview import choices, plane_message, state, whole_planes
from dentgen.studio.permalink import restore, store
from dentgen.studio.pictures import Pictures, Variants
from dentgen.studio.relighting import relight
from dentgen.studio.saving import located, save, spec_text
from dentgen.studio.scans import scanned
from dentgen.studio.settings import Settings
from dentgen.studio.small_builds import SmallBuild, make_small_build
from dentgen.studio.stream import Frame, Stream
from dentgen.studio.strokes import paint
from dentgen.studio.work import Changed, Work

_LOG = logging.getLogger(__name__)
#: zlib level of pictures on their way to a browser: time counts more than bytes.
_FAST: Final = 1
Answer = dict[str, Any]
_Result = TypeVar("_Result")


class Session:
    """The document, its pictures and the browsers that show it. Runs in an event loop."""

    def __init__(self, generator: Generator, record: ConditionRecord, folder: Path, places: Places) -> None:
        """Take what the studio works with; ``start`` begins.

        Args:
            generator: Loaded models.
            record: The first document, fitted to the pictures' size.
            folder: Where documents are saved.
            places: Places that were listed.
        """
        self.generator, self.folder, self.places = generator, folder, places
        self.work = Work(record, Settings.of(generator.spec))
        self.browsers = Browsers()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stream: Stream | None = None
        self._judging: Judging | None = None
        self._last: dict[str, str | bytes] = {}
        self._jobs: set[asyncio.Future[Any]] = set()

    def start(self) -> None:
        """Start the engine and the judges, in the running event loop."""
        self._loop = asyncio.get_running_loop()
        self.work.listen(self._changed)
        self._judging = Judging(self._figures, self._problem)
        self._stream = Stream(self.work, self.generator, self._frame, self._problem)

    def close(self) -> None:
        """Stop both threads, and wait for them."""
        self._loop = None
        for part in (self._stream, self._judging):
            if part is not None:
                part.close()

    def greet(self, browser: Browser) -> None:
        """Send a new browser all that there is."""
        browser.send(text(choices(self.generator.spec)))
        browser.send(text(state(self.work)))
        for message in (*whole_planes(self.work), *self._last.values()):
            browser.send(message)

    async def answer(self, browser: Browser, content: str) -> None:
        """Do what a browser asks for, and answer it."""
        number = 0
        try:
            message = ask.read_message(content)
            number = message.id
            answer = await self._done(message)
        except DentgenError as error:
            answer = {"error": str(error)}
        except Exception as error:  # noqa: BLE001 - the page shows it, and the studio goes on
            _LOG.exception("a request of the page failed")
            answer = {"error": f"unexpected: {type(error).__name__}: {error}"}
        browser.send(text({"type": "answer", "id": number, **answer}))

    async def _done(self, message: Message) -> Answer:
        match message:
            case ask.ListRecords() | ask.OpenRecord() | ask.OpenPhantom() | ask.OpenScan() | ask.OpenEmpty():
                return await self._open(message)
            case (
                ask.MakeVariants()
                | ask.Save()
                | ask.MakeBuild()
                | ask.CopySpec()
                | ask.KeepState()
                | ask.RestoreState()
            ):
                return await self._keep(message)
            case ask.AddLayer() | ask.ChangeLayer() | ask.RemoveLayer() | ask.MoveLayer():
                return self._layers(message)
            case ask.Relight():
                await asyncio.to_thread(relight, self.work, message.gesture, message.light)
            case _:
                self._edit(message)
        return {"version": self.work.version}

    def _edit(self, message: BaseModel) -> None:
        match message:
            case ask.Paint():
                paint(self.work, message.stroke)
            case ask.Step(type="undo"):
                self.work.undo()
            case ask.Step():
                self.work.redo()
            case ask.SetPrompt():
                self.work.set(prompt=message.prompt)
            case ask.SetSettings():
                self.work.set(settings=message.changed(self.work.settings))

    def _layers(self, message: BaseModel) -> Answer:
        match message:
            case ask.AddLayer():
                return {"number": self.work.add_layer(message.name, message.prompt).number}
            case ask.ChangeLayer():
                values = message.model_dump(exclude={"type", "id", "number"}, exclude_none=True)
                self.work.change_layer(message.number, **values)
            case ask.RemoveLayer():
                self.work.remove_layer(message.number)
            case ask.MoveLayer():
                self.work.move_layer(message.number, message.by)
        return {"version": self.work.version}

    async def _open(self, message: BaseModel) -> Answer:
        spec = self.generator.spec
        match message:
            case ask.ListRecords():
                place = await asyncio.to_thread(self.places.add, message.place)
                return {"place": place, "keys": self.places.keys(place), "name": self.places.name(place)}
            case ask.OpenRecord():
                listed = self.places.record(message.place, message.record)
                record = await asyncio.to_thread(lambda: opened(listed.read(), spec))
            case ask.OpenPhantom():
                record = await asyncio.to_thread(phantom, message.seed, message.view, spec)
            case ask.OpenScan():
                record = await asyncio.to_thread(scanned, message.place, message.view, spec)
            case _:
                record = empty(spec)
        self.work.open(record)
        return {"version": self.work.version, "warnings": list(record.warnings)}

    async def _keep(self, message: BaseModel) -> Answer:
        match message:
            case ask.MakeVariants():
                made = await self._variants()
                self._show_variants(made)
                return {"pictures": list(made.pictures)}
            case ask.Save():
                made = await self._variants()
                self._show_variants(made)
                saved = await asyncio.to_thread(save, self.folder, message.name, made)
                return {"folder": str(saved.folder), "command": saved.command, "pictures": list(saved.pictures)}
            case ask.MakeBuild():
                small = await self._small_build(message)
                return {**asdict(small), "folder": str(small.folder)}
            case ask.CopySpec():
                snapshot = self.work.snapshot()
                spec = snapshot.settings.build_spec(self.generator.spec, len(snapshot.record.painted))
                return {"spec": spec_text(located(spec, self.folder.absolute() / "NAME"))}
            case ask.KeepState():
                return {"state": await asyncio.to_thread(store, self.folder, self.work.snapshot())}
            case ask.RestoreState():
                await asyncio.to_thread(restore, self.folder, message.state, self.work, self.generator.spec)
        return {"version": self.work.version}

    async def _variants(self) -> Variants:
        """Pictures of the document as a build makes them, from the engine's thread."""
        snapshot = self.work.snapshot()
        return await self._in_engine(lambda pictures: pictures.make(snapshot))

    async def _small_build(self, asked: ask.MakeBuild) -> SmallBuild:
        """A dataset of the document, built in the engine's thread."""
        snapshot, generator = self.work.snapshot(), self.generator
        return await self._in_engine(
            lambda _: make_small_build(
                self.folder, asked.name, snapshot, generator.spec, generator.bundle, asked.series, asked.count,
                self._built,
            )
        )  # fmt: skip

    async def _in_engine(self, call: Callable[[Pictures], _Result]) -> _Result:
        if self._stream is None:
            raise RuntimeError("the session has not been started")
        return await asyncio.wrap_future(self._stream.submit(call))

    def _built(self, done: int, planned: int) -> None:
        """Tell how far a build is, from its thread; ends it when the studio ends.

        Raises:
            BuildError: If the studio ends.
        """
        if self._loop is None:
            raise BuildError("the studio ended", advice="dentgen generate with the saved spec goes on")
        self._in_loop(lambda: self.browsers.send(text({"type": "building", "done": done, "planned": planned})))

    def _show_variants(self, made: Variants) -> None:
        for number, (key, picture) in enumerate(made.pictures.items()):
            header = {"type": "variant", "key": key, "number": number, "count": len(made.pictures)}
            self.browsers.send(binary(header, png_bytes(picture, level=_FAST)))

    def _changed(self, what: Changed) -> None:
        """The document has changed, in whatever thread."""
        planes = dict(self.work.planes)
        parts = [plane_message(name, planes[name], where) for name, where in what.items() if name in planes]
        self._in_loop(lambda: self._tell_change(parts))

    def _tell_change(self, parts: list[bytes]) -> None:
        for part in parts:
            self.browsers.send(part)
        self.browsers.send_latest("state", text(state(self.work)))

    def _frame(self, frame: Frame) -> None:
        """A picture was made, in the engine's thread."""
        if self._judging is not None and frame.whole:
            self._judging.hand(frame)
        header = {"type": "frame", "number": frame.number, "version": frame.version, "latest": frame.latest}
        message = binary(header, png_bytes(frame.picture, level=_FAST))
        self._in_loop(lambda: self._publish("frame", message))

    def _figures(self, frame: Frame, figures: Figures) -> None:
        found = {"figures": figures.gate, "findings": [asdict(finding) for finding in figures.findings]}
        message = text({"type": "figures", "number": frame.number, "version": frame.version, **found})
        self._in_loop(lambda: self._publish("figures", message))

    def _problem(self, error: Exception | None) -> None:
        """The stream stopped, or goes on."""
        message = text({"type": "problem", "error": "" if error is None else str(error) or type(error).__name__})
        self._in_loop(lambda: self._publish("problem", message))

    def _publish(self, kind: str, message: str | bytes) -> None:
        self._last[kind] = message
        self.browsers.send_latest(kind, message)

    def _in_loop(self, call: Callable[[], None]) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(call)
