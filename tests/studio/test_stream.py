"""The engine's thread: pictures come, jobs come between, errors stop nothing for good, and it ends when told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError

import pytest

from dentgen.errors import ConditionError
from dentgen.generation.generator import Generator
from dentgen.studio.openers import list_records, opened
from dentgen.studio.settings import Settings
from dentgen.studio.stream import Frame, Stream
from dentgen.studio.work import Work
from tests.conftest import JAWS
from tests.studio.serving import until


class Heard:
    """A stream and what it showed and told."""

    def __init__(self, generator: Generator) -> None:
        record = opened(list_records(str(JAWS))[0].read(), generator.spec)
        settings = Settings.of(generator.spec).model_copy(update={"steps": 1, "variants": 1, "locked": False})
        self.work, self.frames, self.told = Work(record, settings), list[Frame](), list[Exception | None]()
        self.stream = Stream(self.work, generator, self.frames.append, self.told.append)

    def more(self) -> int:
        """Wait for another picture."""
        count = len(self.frames)
        return until(lambda: len(self.frames) > count and len(self.frames))


@pytest.fixture
def heard(generator: Generator) -> Iterator[Heard]:
    one = Heard(generator)
    yield one
    one.stream.close()


@pytest.mark.slow
def test_pictures_stream_until_they_are_paused(heard: Heard) -> None:
    until(lambda: len(heard.frames) >= 3)
    assert [frame.number for frame in heard.frames[:3]] == [0, 1, 2]
    heard.work.set(settings=heard.work.settings.model_copy(update={"playing": False}))
    time.sleep(1.0)
    count = len(heard.frames)
    time.sleep(1.0)
    assert len(heard.frames) == count
    heard.work.set(settings=heard.work.settings.model_copy(update={"playing": True}))
    heard.more()


@pytest.mark.integration
def test_jobs_run_in_its_thread_between_pictures(heard: Heard) -> None:
    heard.more()
    name = heard.stream.submit(lambda pictures: threading.current_thread().name).result(60)
    assert name == "dentgen-studio-engine"
    failed = heard.stream.submit(lambda pictures: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        failed.result(60)
    heard.more()


@pytest.mark.integration
def test_an_error_stops_pictures_until_the_next_edit(heard: Heard) -> None:
    heard.more()
    good = heard.work.prompt
    heard.work.set(prompt="teeth " * 90, settings=heard.work.settings.model_copy(update={"seed": 1}))
    until(lambda: heard.told)
    assert isinstance(heard.told[0], ConditionError)
    count = len(heard.frames)
    time.sleep(1.0)
    assert len(heard.frames) == count, "it does not try again and again"
    assert len(heard.told) == 1
    heard.work.set(prompt=good)
    heard.more()
    assert heard.told[1:] == [None]


@pytest.mark.slow
def test_an_unforeseen_error_does_not_end_the_thread(heard: Heard, caplog: pytest.LogCaptureFixture) -> None:
    """The real thing: a map that somebody cut to another size in memory."""
    heard.more()
    plane = heard.work.planes["segmentation"]
    heard.work.planes["segmentation"] = plane[:50, :50]
    heard.work.set(prompt="x")
    until(lambda: heard.told)
    heard.work.planes["segmentation"] = plane
    heard.work.set(prompt="white teeth")
    heard.more()


def test_closing_ends_the_thread_and_waiting_jobs(generator: Generator) -> None:
    one = Heard(generator)
    one.more()
    begun, free = threading.Event(), threading.Event()

    def hold(pictures: object) -> bool:
        begun.set()
        return free.wait(60)

    one.stream.submit(hold)
    assert begun.wait(60)
    waiting = one.stream.submit(lambda pictures: 1)
    closing = threading.Thread(target=one.stream.close)
    closing.start()
    free.set()
    closing.join(60)
    assert not closing.is_alive()
    with pytest.raises(CancelledError):
        waiting.result(10)
    with pytest.raises(CancelledError):
        one.stream.submit(lambda pictures: 1).result(10)
