"""A live canvas that follows its document: pictures change with it, errors are told, and it rests when all is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from dentgen.errors import ConditionError
from dentgen.generation.generator import Generator
from dentgen.studio.live_document import LiveDocument, LivePicture
from dentgen.studio.openers import list_records, opened
from dentgen.studio.pictures import Pictures
from dentgen.studio.planes import Rectangle
from dentgen.studio.settings import Settings
from dentgen.studio.work import Layer, Work
from tests.conftest import JAWS

TOO_LONG = "teeth " * 90


@pytest.fixture
def work(generator: Generator) -> Work:
    record = opened(list_records(str(JAWS))[0].read(), generator.spec)
    return Work(record, Settings.of(generator.spec).model_copy(update={"steps": 2, "variants": 1}))


@pytest.fixture
def told() -> list[Exception | None]:
    return []


@pytest.fixture
def live(generator: Generator, told: list[Exception | None]) -> Iterator[LiveDocument]:
    document = LiveDocument(generator, told.append)
    yield document
    document.close()


def take(live: LiveDocument, work: Work, until: Callable[[LivePicture], bool]) -> LivePicture:
    """The first picture of which something is true."""
    for _ in range(40):
        picture = live.next_picture(work.snapshot())
        if picture is not None and until(picture):
            return picture
    raise AssertionError("no such picture")


def latest(live: LiveDocument, work: Work) -> LivePicture:
    return take(live, work, lambda picture: picture.snapshot.version == work.version)


@pytest.mark.integration
def test_pictures_have_the_noise_of_a_builds_first_variant(
    live: LiveDocument, work: Work, generator: Generator
) -> None:
    """Up to what another number of slots changes in the last bits."""
    (expected,) = Pictures(generator).make(work.snapshot()).pictures.values()
    difference = np.abs(latest(live, work).picture.astype(int) - expected)
    assert difference.max() <= 2


@pytest.mark.integration
def test_edits_show_without_a_new_start(live: LiveDocument, work: Work) -> None:
    before = latest(live, work)
    canvas = live._running
    assert canvas is not None
    values = np.full((60, 60), 1, np.uint8)
    work.change("g", {"segmentation": (Rectangle(30, 30, 90, 90), values)})
    painted = latest(live, work)
    change = np.abs(painted.picture.astype(int) - before.picture).mean(-1)
    assert change[30:90, 30:90].mean() > 3 * change[:20].mean()
    work.set(prompt="yellow teeth, red gums")
    assert not np.array_equal(latest(live, work).picture, painted.picture)
    scaled = work.settings.model_copy(update={"adapters": {"blended": 0.5}})
    work.set(settings=scaled)
    latest(live, work)
    assert live._running is canvas, "one canvas all along"


@pytest.mark.integration
def test_pictures_begin_with_a_background(live: LiveDocument, work: Work) -> None:
    photo = work.base.photo
    assert photo is not None
    plain = latest(live, work)
    work.set(settings=work.settings.model_copy(update={"background": 0.5}))
    assert difference(latest(live, work), photo) < difference(plain, photo) - 3


@pytest.mark.slow
def test_settings_begin_anew(live: LiveDocument, work: Work) -> None:
    before = latest(live, work).picture
    canvas = live._running
    work.set(settings=work.settings.model_copy(update={"seed": 5}))
    assert not np.array_equal(latest(live, work).picture, before)
    assert live._running is not canvas


def difference(one: LivePicture, other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.picture.astype(int) - other).mean())


def next_one(live: LiveDocument, work: Work) -> LivePicture:
    picture = live.next_picture(work.snapshot())
    assert picture is not None
    return picture


def everywhere(work: Work, layer: Layer) -> None:
    """Paint a layer all over the picture."""
    size = work.base.shape
    work.change("all", {layer.plane: (Rectangle(0, 0, *size), np.ones(size, np.uint8))})


def handed_over(live: LiveDocument, work: Work, regions: int) -> None:
    for _ in range(6):
        next_one(live, work)
        assert live._running is not None
        if live._running.canvas.regions == regions:
            return
    raise AssertionError("no canvas took over")


@pytest.mark.integration
def test_a_region_joins_and_leaves_while_pictures_go_on(live: LiveDocument, work: Work) -> None:
    """With noise of their own no two pictures are alike, so one that was lost or made twice would be seen."""
    work.set(settings=work.settings.model_copy(update={"locked": False}))
    pictures = [next_one(live, work).picture for _ in range(2)]
    before = live._running
    assert before is not None
    layer, ticks = work.add_layer("", "black teeth, dark"), before.canvas._pictures.ticks
    pictures.extend(next_one(live, work).picture for _ in range(3))
    after = live._running
    assert after is not None
    assert after is not before
    assert after.canvas.regions == 1
    assert before.canvas._pictures.ticks == ticks + 1, "one picture of the old canvas while the next one took its steps"
    assert after.canvas._pictures.ticks == 3
    everywhere(work, layer)
    assert latest(live, work).snapshot.layers == work.layers
    assert live._running is after, "the stroke acts in the canvas that runs"
    work.remove_layer(layer.number)
    seen = next_one(live, work)
    assert seen.latest.version == work.version, "at the next tick, before a smaller canvas has taken over"
    assert live._running is after
    handed_over(live, work, 0)
    pictures.append(latest(live, work).picture)
    assert len({picture.tobytes() for picture in pictures}) == 6


@pytest.mark.integration
def test_a_stroke_before_there_is_room_shows_later_and_nothing_claims_it_earlier(
    live: LiveDocument, work: Work
) -> None:
    plain = latest(live, work).picture
    everywhere(work, work.add_layer("", "black teeth, dark"))
    seen = [next_one(live, work) for _ in range(3)]
    shows = [difference(each, plain) > 5 for each in seen]
    assert shows == [each.latest.version == work.version for each in seen]
    assert shows == [False, True, True]


@pytest.mark.integration
def test_moving_a_region_acts_in_the_canvas_that_runs(live: LiveDocument, work: Work) -> None:
    for prompt in ("black teeth, dark", work.prompt):
        everywhere(work, work.add_layer("", prompt))
    covered = latest(live, work)
    canvas = live._running
    work.move_layer(work.layers[0].number, 1)
    assert difference(latest(live, work), covered.picture) > 5
    assert live._running is canvas


@pytest.mark.integration
def test_a_new_regions_prompt_that_is_too_long_is_told_while_pictures_go_on(
    live: LiveDocument, work: Work, told: list[Exception | None]
) -> None:
    latest(live, work)
    canvas = live._running
    layer = work.add_layer("", TOO_LONG)
    everywhere(work, layer)
    for _ in range(3):
        live.next_picture(work.snapshot())
    assert live._running is canvas
    assert [type(each) for each in told] == [ConditionError], "told once, not tried with every picture"
    work.change_layer(layer.number, prompt="black teeth, dark")
    latest(live, work)
    assert told[1:] == [None]


@pytest.mark.slow
def test_a_region_is_painted_live_and_hidden_again(live: LiveDocument, work: Work) -> None:
    plain = latest(live, work).picture
    layer = work.add_layer("", "black teeth, dark")
    handed_over(live, work, 1)
    canvas = live._running
    work.change("g", {layer.plane: (Rectangle(40, 20, 90, 110), np.ones((50, 90), np.uint8))})
    painted = latest(live, work).picture.astype(int)
    work.change_layer(layer.number, visible=False)
    hidden = take(live, work, lambda one: one.snapshot.version == work.version and not live._running.pending)  # type: ignore[union-attr]
    for _ in range(3):
        hidden = live.next_picture(work.snapshot()) or hidden
    assert live._running is canvas
    assert np.abs(painted - plain)[40:90, 20:110].mean() > 1
    assert np.abs(hidden.picture.astype(int) - plain).max() <= 2


@pytest.mark.slow
def test_it_rests_once_all_is_shown(live: LiveDocument, work: Work) -> None:
    latest(live, work)
    made = [live.next_picture(work.snapshot()) for _ in range(5)]
    assert made[-1] is None
    work.set(settings=work.settings.model_copy(update={"locked": False}))
    assert all(live.next_picture(work.snapshot()) is not None for _ in range(4)), "with noise of its own, each is new"


@pytest.mark.slow
def test_a_prompt_that_is_too_long_is_told_and_taken_back(
    live: LiveDocument, work: Work, told: list[Exception | None]
) -> None:
    latest(live, work)
    work.set(prompt=TOO_LONG)
    for _ in range(20):
        live.next_picture(work.snapshot())
        if told:
            break
    assert isinstance(told[0], ConditionError)
    work.change("g", {"segmentation": (Rectangle(0, 0, 9, 9), np.ones((9, 9), np.uint8))})
    latest(live, work)
    assert len(told) == 1, "another edit does not hide it"
    work.set(prompt="white teeth")
    latest(live, work)
    assert told[1:] == [None]


@pytest.mark.slow
def test_what_cannot_begin_is_an_error_and_the_next_edit_goes_on(live: LiveDocument, work: Work) -> None:
    good = work.prompt
    work.set(prompt=TOO_LONG)
    with pytest.raises(ConditionError):
        live.next_picture(work.snapshot())
    work.set(prompt=good)
    assert latest(live, work).picture.std() > 10


@pytest.mark.integration
@pytest.mark.parametrize("is_shown", [False, True])
def test_what_failed_of_a_region_goes_with_it(
    live: LiveDocument, work: Work, told: list[Exception | None], is_shown: bool
) -> None:
    """Refused as it was added, or once it was there."""
    latest(live, work)
    layer = work.add_layer("", "black teeth" if is_shown else TOO_LONG)
    if is_shown:
        handed_over(live, work, 1)
        work.change_layer(layer.number, prompt=TOO_LONG)
    for _ in range(20):
        live.next_picture(work.snapshot())
        if told:
            break
    assert isinstance(told[-1], ConditionError)
    work.remove_layer(layer.number)
    live.next_picture(work.snapshot())
    assert told[-1] is None
