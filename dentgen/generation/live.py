"""A live canvas: pictures without end from layers that may be painted while they are sampled.

Pictures are a stream batch: one enters every few ticks, so several are in flight, each at its own step. An edit acts in
all of them from the next tick on, and in all later ones. Every picture has rows for all layers that there may be, so
layers come and go without another shape.
"""

from __future__ import annotations

import logging
import threading
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
from dentgen.errors import CanvasError, SpecError
from dentgen.generation.canvases import build_canvases, check_request, guidance_of, sample_requests
from dentgen.generation.generator import Generator, build_engine
from dentgen.generation.live_edits import LiveLayers, closed_error
from dentgen.generation.live_layers import (
    BACKGROUND,
    Edit,
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
        self.size, self._codec = generator.spec.conditions.shape, generator.codec.in_batches(1)
        self._turn, self._closed = threading.Lock(), threading.Event()
        self._running: dict[str, _Running] = {}
        self._ticks = self._entered = 0
        with torch_threads(generator.spec.engine.threads):
            own = self._embedded(background)
            self._layers = LiveLayers(own, self._painted(BACKGROUND, np.zeros(self.size, bool)), regions)
            for layer in layers:
                values, number = self._values(layer), self._layers.add(layer.name)
                self._layers.edit(number, replace(values, prompt=self._embedded(layer.prompt)))
            self._layers.apply()
            self._layers.version = 0
            self._base = self._base_canvas(background, own, record)
            rows = len(self._canvas(0).rows(0)) * -(-generator.table.num_steps // every)
            self._engine = build_engine(generator, rows, rows, regions)
            self._engine.warm_up()
            self._codec.warm_up(self._engine.shape.latent_size)
        self._preparer = Preparer(generator.spec.engine.threads)

    @property
    def version(self) -> int:
        """Number of edits that have been applied."""
        return self._layers.version

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
        number = self._layers.number(layer)
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
        values, number = self._values(layer), self._layers.add(layer.name)
        added = self._ask(number, values, layer.prompt)
        added.add_done_callback(partial(self._forget_if_failed, layer.name, number))
        return added

    def remove(self, name: str) -> Future[int]:
        """Remove a layer; as ``edit``.

        Raises:
            CanvasError: If there is no such layer, or it is the background.
            EngineError: If the canvas is closed.
        """
        return self._layers.remove(name)

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
        self._closed.set()
        self._layers.close()
        self._preparer.close()
        with self._turn:
            pass  # a tick may be in progress

    def _tick(self) -> list[LiveFrame]:
        """Apply edits, begin a picture if it is time, and advance all by one step."""
        with torch_threads(self._generator.spec.engine.threads):
            updates = self._layers.apply()
            told = [self._engine.update(key, update) for update in updates for key in self._running]
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
        shown = self._layers.masks()
        labels = label_map(shown.values(), self.size)
        return LiveFrame(running.index, picture, labels, shown, running.first_version, self.version)

    def _ask(self, number: int, values: LayerValues, prompt: str | None) -> Future[int]:
        """Queue an edit, at once or as soon as its prompt has been embedded."""
        if prompt is None:
            return self._layers.edit(number, values)
        edit = Edit(self._layers.next_place(), number, values, Future())
        try:
            embedded = self._preparer.submit(partial(self._embedded, prompt))
        except RuntimeError as error:  # closed meanwhile
            raise closed_error() from error
        embedded.add_done_callback(partial(self._embedding_done, edit))
        return edit.applied

    def _embedding_done(self, edit: Edit, done: Future[KeyedTensor]) -> None:
        error = closed_error() if done.cancelled() else done.exception()
        if error is None:
            self._layers.put(replace(edit, values=replace(edit.values, prompt=done.result())))
        elif edit.applied.set_running_or_notify_cancel():
            _LOG.warning("a prompt of the live canvas was not taken over: %s", error)
            edit.applied.set_exception(error)

    def _forget_if_failed(self, name: str, number: int, added: Future[int]) -> None:
        if added.cancelled() or added.exception() is not None:
            self._layers.forget(name, number)

    def _values(self, layer: LiveLayer) -> LayerValues:
        check_share(layer.name, "strength", layer.strength)
        check_share(layer.name, "prompt_strength", layer.prompt_strength)
        painted = self._painted(layer.name, layer.mask, layer.blur)
        return LayerValues(None, painted, layer.strength, layer.prompt_strength)

    def _painted(self, name: str, mask: Mask, blur: float = 0.0) -> PaintedMask:
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
        noise = NoiseKey(self._seed, "live", index if self._advance else 0)
        own, layers = self._layers.prompt, Layers(self._layers.regions())
        canvas = replace(self._base, key=f"frame {index}", noise=noise, prompt=own, layers=layers)
        canvas.check()
        return canvas


def _check(generator: Generator, every: int) -> None:
    """Refuse what a live canvas would not heed."""
    spec = generator.spec
    given: dict[str, Any] = {"findings": spec.findings, "variants.change": spec.variants.change}
    given |= {"regions.bootstrap_steps": spec.regions.bootstrap_steps, "sampling.repaint": spec.sampling.repaint}
    given |= {"sampling.prompt_to": spec.sampling.prompt_to, "sampling.seed_to": spec.sampling.seed_to is not None}
    given |= {"augment": spec.augment.used, "sampling.start_from": spec.sampling.frames > 1}
    for key, value in given.items():
        if value:
            raise SpecError("not supported by live canvases", key=key, found=str(value), expected="none: use layers")
    if every < 1:
        raise SpecError(key="every", found=every, expected="at least 1")
