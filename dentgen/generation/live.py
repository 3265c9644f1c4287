"""A live canvas: pictures without end from layers that may be painted while they are sampled.

Pictures are a stream batch: one enters every few ticks, so several are in flight, each at its own step. An edit acts in
all of them from the next tick on, and in all later ones. Every picture has rows for all layers that there may be, so
layers come and go without another shape.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dentgen.diffusion.canvas import Canvas, Finished
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.regions import Layers
from dentgen.errors import CanvasError, EngineError, SpecError
from dentgen.generation.canvases import build_canvases, check_request, guidance_of, sample_requests
from dentgen.generation.generator import Generator, build_engine
from dentgen.generation.live_layers import (
    BACKGROUND,
    Edit,
    LayerState,
    LayerValues,
    LiveLayer,
    Mask,
    PaintedMask,
    check_share,
    label_map,
)
from dentgen.generation.preparer import Preparer
from dentgen.generation.threads import torch_threads
from dentgen.models.text import prompt_name
from dentgen.records import ConditionRecord
from dentgen.seeding import NoiseKey

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class LiveFrame:
    """One picture of a live canvas.

    Attributes:
        index: Its number, from 0.
        picture: (H, W, 3) uint8.
        labels: (H, W) uint8: at each pixel the number of the uppermost layer at its last step, from 1 in the order of
            ``masks``; 0 where there is none.
        masks: (H, W) float32 mask of every layer at its last step, by name.
        first_version: Version of the layers that its first step saw: the number of edits that had been applied.
        last_version: Version that its last step saw; the same if nothing was edited meanwhile.
    """

    index: int
    picture: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    masks: dict[str, NDArray[np.float32]]
    first_version: int
    last_version: int


@dataclass(slots=True)
class _Running:
    """A picture in flight: its number, and the version that its first step saw."""

    index: int
    first_version: int


class LiveCanvas:
    """A canvas that is painted while pictures of it are made. Any thread may edit it; one at a time takes its frames.

    Examples:
        >>> with LiveCanvas(generator, "intraoral photograph", regions=2) as live:
        ...     live.add(LiveLayer("gum", "inflamed gum", mask))
        ...     for frame in live.frames():
        ...         show(frame.picture)

    Attributes:
        size: Height and width, pixels.
        version: Number of edits that have been applied.
    """

    def __init__(
        self,
        generator: Generator,
        background: str,
        layers: Sequence[LiveLayer] = (),
        *,
        regions: int = 4,
        record: ConditionRecord | None = None,
        seed: int = 0,
        advance: bool = True,
        every: int = 1,
    ) -> None:
        """Start an engine with as many slots as the pictures in flight have rows.

        Args:
            generator: Models and settings; its numbers of slots and variants are not read.
            background: Prompt of what no layer covers.
            layers: The first layers.
            regions: Layers that there may be at once.
            record: Condition maps, fitted to the size, that control all pictures; None: prompts alone.
            seed: Seed of the noise.
            advance: Whether each picture has noise of its own; otherwise all begin with the same noise.
            every: Ticks from one picture to the next.

        Raises:
            SpecError: If the spec asks for something that a live canvas has not.
            ConditionError: If a prompt is too long, or the record cannot be used.
            CanvasError: If a layer cannot be used, or there are too many.
            OutOfMemoryError: If the slots do not fit into the device's memory.
        """
        _check(generator, every)
        self._generator, self._seed, self._advance, self._every = generator, seed, advance, every
        self.size, self.version = generator.spec.conditions.shape, 0
        self._codec = generator.codec.in_batches(1)
        self._turn, self._lock = threading.Lock(), threading.RLock()
        self._ready: deque[Edit] = deque()
        self._running: dict[str, _Running] = {}
        self._asked = self._ticks = self._entered = 0
        self._closed = threading.Event()
        self._names: dict[str, int] = {}
        self._shown: dict[str, int] = {}
        with torch_threads(generator.spec.engine.threads):
            own = self._embedded(background)
            nothing = PaintedMask.of(BACKGROUND, np.zeros(self.size, bool), self.size, generator.codec.downscale)
            self._nothing = nothing
            self._layers = [LayerState(own, nothing) for _ in range(1 + regions)]
            self._base = self._base_canvas(background, own, record)
            for layer in layers:
                self._edit(self._new_layer(layer.name), self._values(layer), self._embedded(layer.prompt))
            self._apply_edits()
            self.version = 0
            rows = len(self._canvas(0).rows(0)) * -(-generator.table.num_steps // every)
            self._engine = build_engine(generator, rows, rows, regions)
            self._engine.warm_up()
            self._codec.warm_up(self._engine.shape.latent_size)
        self._preparer = Preparer(generator.spec.engine.threads)

    def __enter__(self) -> Self:
        """Return the canvas."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def edit(
        self,
        layer: str,
        *,
        prompt: str | None = None,
        mask: Mask | None = None,
        strength: float | None = None,
        prompt_strength: float | None = None,
        blur: float = 0.0,
    ) -> Future[int]:
        """Change a layer; returns at once. Values of one call act together, once its prompt has been embedded.

        Args:
            layer: Its name, or ``BACKGROUND``, which has a prompt alone.
            prompt: Its new prompt.
            mask: (H, W) booleans, or values in 0..1.
            strength: Factor on the mask, 0..1.
            prompt_strength: Interpolation from the background's prompt to the layer's, 0..1.
            blur: Sigma of a Gaussian blur of ``mask``, pixels.

        Returns:
            The version of the layers that shows the edit. A ``ConditionError`` in its place if the prompt is too long,
            which is logged as well; everything stays as it was then.

        Raises:
            CanvasError: If there is no such layer, or a value is not usable.
            EngineError: If the canvas is closed.
        """
        number = self._number(layer)
        if not number and (mask is not None or strength is not None or prompt_strength is not None):
            raise CanvasError(key=layer, found="a mask or strength", expected="a prompt alone")
        check_share(layer, "strength", strength)
        check_share(layer, "prompt_strength", prompt_strength)
        painted = None if mask is None else self._painted(layer, mask, blur)
        return self._ask(number, LayerValues(None, painted, strength, prompt_strength), prompt)

    def add(self, layer: LiveLayer) -> Future[int]:
        """Add a layer above all others; as ``edit``. If its prompt is too long, there is no such layer.

        Raises:
            CanvasError: If there are as many layers as there may be, one of this name, or a value is not usable.
            EngineError: If the canvas is closed.
        """
        values, number = self._values(layer), self._new_layer(layer.name)
        added = self._ask(number, values, layer.prompt)
        added.add_done_callback(partial(self._forget_if_failed, layer.name, number))
        return added

    def remove(self, name: str) -> Future[int]:
        """Remove a layer; as ``edit``.

        Raises:
            CanvasError: If there is no such layer.
            EngineError: If the canvas is closed.
        """
        with self._lock:  # together, so that no frame lacks the mask of a layer that it shows
            removed = self._edit(self._number(name), LayerValues(mask=self._nothing))
            self._names.pop(name, None)
        return removed

    def frames(self, count: int | None = None) -> Iterator[LiveFrame]:
        """Make pictures, one after the other, as they are asked for.

        Args:
            count: How many; None: until the canvas is closed.

        Yields:
            Pictures in the order in which they were begun. The first one takes as many ticks as there are steps.

        Raises:
            CanvasError: If a picture could not be made.
        """
        made = 0
        while count is None or made < count:
            with self._turn:  # not while the caller has the frame: it may close the canvas
                if self._closed.is_set():
                    return
                frames = self._tick()
            for frame in frames:
                made += 1
                yield frame

    def close(self) -> None:
        """Stop: a tick in progress ends, frames come to their end, and edits that wait fail with ``EngineError``."""
        with self._lock:
            self._closed.set()
        with self._turn:
            self._preparer.close()
            self._fail_edits()

    def _tick(self) -> list[LiveFrame]:
        """Apply edits, begin a picture if it is time, and advance all by one step."""
        with torch_threads(self._generator.spec.engine.threads):
            told = self._apply_edits()
            if self._ticks % self._every == 0:
                canvas = self._canvas(self._entered)
                self._engine.submit(canvas)
                self._running[canvas.key] = _Running(self._entered, self.version)
                self._entered += 1
            self._ticks += 1
            outcomes = self._engine.tick()
            for each in told:
                each.result()
            frames = []
            for outcome in outcomes:
                running = self._running.pop(outcome.key)
                if not isinstance(outcome, Finished):
                    raise outcome.error
                frames.append(self._frame(running, outcome.latents))
            return frames

    def _frame(self, running: _Running, latents: Tensor) -> LiveFrame:
        (picture,) = self._codec.decode_finite([latents])
        if picture is None:
            found, expected = "values that are not finite", "a picture"
            raise CanvasError("live canvas", key=f"frame {running.index}", found=found, expected=expected)
        shown = {name: self._layers[number].mask.pixels for name, number in self._shown.items()}
        labels = label_map(shown.values(), self.size)
        return LiveFrame(running.index, picture, labels, shown, running.first_version, self.version)

    def _apply_edits(self) -> list[Future[int]]:
        """Take over all edits that are ready, and tell the canvases in flight."""
        with self._lock:
            edits, self._shown = list(self._ready), dict(self._names)
            self._ready.clear()
        told: list[Future[int]] = []
        for edit in edits:
            if not edit.applied.set_running_or_notify_cancel():
                continue
            update = self._layers[edit.layer].apply(edit)
            if update is not None:
                self.version += 1
                told += [self._engine.update(key, update) for key in self._running]
            edit.applied.set_result(self.version)
        return told

    def _ask(self, number: int, values: LayerValues, prompt: str | None) -> Future[int]:
        """Queue an edit, at once or as soon as its prompt has been embedded."""
        if prompt is None:
            return self._edit(number, values)
        with self._lock:
            self._require_open()
            self._asked += 1
            place, applied = self._asked, Future[int]()
            embedded = self._preparer.submit(partial(self._embedded, prompt))
        embedded.add_done_callback(partial(self._embedding_done, place, number, values, applied))
        return applied

    def _embedding_done(
        self, place: int, number: int, values: LayerValues, applied: Future[int], done: Future[KeyedTensor]
    ) -> None:
        error = _closed_error() if done.cancelled() else done.exception()
        if error is not None:
            _LOG.warning("a prompt of the live canvas was not taken over: %s", error)
            if applied.set_running_or_notify_cancel():
                applied.set_exception(error)
            return
        with self._lock:
            self._ready.append(Edit(place, number, replace(values, prompt=done.result()), applied))

    def _edit(self, number: int, values: LayerValues, prompt: KeyedTensor | None = None) -> Future[int]:
        with self._lock:
            self._require_open()
            self._asked += 1
            edit = Edit(self._asked, number, replace(values, prompt=prompt), Future())
            self._ready.append(edit)
        return edit.applied

    def _fail_edits(self) -> None:
        with self._lock:
            edits = list(self._ready)
            self._ready.clear()
        for edit in edits:
            if edit.applied.set_running_or_notify_cancel():
                edit.applied.set_exception(_closed_error())

    def _forget_if_failed(self, name: str, number: int, added: Future[int]) -> None:
        with self._lock:
            if (added.cancelled() or added.exception() is not None) and self._names.get(name) == number:
                del self._names[name]

    def _require_open(self) -> None:
        if self._closed.is_set():
            raise _closed_error()

    def _number(self, name: str) -> int:
        with self._lock:
            if name == BACKGROUND:
                return 0
            if name not in self._names:
                raise CanvasError(key=name, found="no layer of this name", expected=[BACKGROUND, *self._names])
            return self._names[name]

    def _new_layer(self, name: str) -> int:
        """Take the lowest free number for a name."""
        with self._lock:
            if name == BACKGROUND or name in self._names:
                raise CanvasError(key=name, found="a layer of this name", expected="another name")
            used = set(self._names.values())
            free = next((number for number in range(1, len(self._layers)) if number not in used), None)
            if free is None:
                raise CanvasError(key=name, found=f"{len(used) + 1} layers", expected=f"at most {len(used)}")
            self._names[name] = free
            return free

    def _values(self, layer: LiveLayer) -> LayerValues:
        check_share(layer.name, "strength", layer.strength)
        check_share(layer.name, "prompt_strength", layer.prompt_strength)
        painted = self._painted(layer.name, layer.mask, layer.blur)
        return LayerValues(None, painted, layer.strength, layer.prompt_strength)

    def _painted(self, name: str, mask: Mask, blur: float) -> PaintedMask:
        return PaintedMask.of(name, mask, self.size, self._generator.codec.downscale, blur)

    def _embedded(self, prompt: str) -> KeyedTensor:
        return KeyedTensor(prompt_name(prompt), self._generator.prompts.embed(prompt))

    def _base_canvas(self, prompt: str, own: KeyedTensor, record: ConditionRecord | None) -> Canvas:
        """What all pictures share: control, guidance, windows."""
        generator = self._generator
        if record is None:
            guidance, noise = guidance_of(generator), NoiseKey(self._seed, "live", 0)
            return Canvas("live", noise, generator.table, own, guidance, windows=generator.windows)
        (request,) = sample_requests(generator, record, prompt=prompt, variants=1)
        check_request(generator, request)
        (canvas,) = build_canvases(generator, [request])
        return canvas

    def _canvas(self, index: int) -> Canvas:
        """The picture of a number, with the layers as they are now."""
        own, *others = self._layers
        key = NoiseKey(self._seed, "live", index if self._advance else 0)
        layers = Layers(tuple(layer.region() for layer in others))
        canvas = replace(self._base, key=f"frame {index}", noise=key, prompt=own.prompt, layers=layers)
        canvas.check()
        return canvas


def _closed_error() -> EngineError:
    return EngineError("the live canvas is closed")


def _check(generator: Generator, every: int) -> None:
    """Refuse what a live canvas would not heed."""
    spec = generator.spec
    given: dict[str, Any] = {"findings": spec.findings, "variants.change": spec.variants.change}
    given |= {"regions.bootstrap_steps": spec.regions.bootstrap_steps, "sampling.repaint": spec.sampling.repaint}
    for key, value in given.items():
        if value:
            raise SpecError("not supported by live canvases", key=key, found=str(value), expected="none: use layers")
    if every < 1:
        raise SpecError(key="every", found=every, expected="at least 1")
