"""A live canvas: pictures without end from layers and condition maps that may be changed while they are sampled.

Pictures are a stream batch: one enters every few ticks, so several are in flight, each at its own step. An edit acts in
all of them from the next tick on, and in all later ones. Every picture has rows for all layers that there may be, so
layers come and go without another shape.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self

import numpy as np

from dentgen.errors import CanvasError
from dentgen.generation.generator import Generator
from dentgen.generation.live_control import ControlState, ControlValues, MapEncoder, check_scales, check_spec
from dentgen.generation.live_edits import LiveLayers
from dentgen.generation.live_frames import LiveFrame, LivePictures, NoiseChoice
from dentgen.generation.live_layers import BACKGROUND, LayerValues, LiveLayer, Mask, PaintedMask, check_share
from dentgen.generation.live_requests import EditRequests
from dentgen.generation.regions import embedded, negative_words
from dentgen.generation.threads import torch_threads
from dentgen.records import ConditionRecord

__all__ = ["LiveCanvas", "LiveFrame"]


class LiveCanvas:
    """A canvas that is painted while pictures of it are made. Any thread may edit it; one at a time takes its frames.

    Examples:
        >>> with LiveCanvas(generator, "intraoral photograph", regions=2) as live:
        ...     live.add(LiveLayer("gum", "inflamed gum", mask))
        ...     for frame in live.frames():
        ...         show(frame.picture)

    Attributes:
        size: Height and width, pixels.
        regions: Layers that there may be at once.
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
        first: int = 0,
    ) -> None:
        """Start an engine with as many slots as the pictures in flight have rows.

        Args:
            generator: Models and settings; its numbers of slots and variants are not read.
            background: Prompt of what no layer covers.
            layers: The first layers.
            regions: Layers that there may be at once.
            record: Condition maps, fitted to the size, that control the pictures; None: prompts alone. Its painted
                regions are not read: give them as layers.
            seed: Seed of the noise. With a record, picture i has the noise of a build's variant i of this record.
            advance: Whether each picture has noise of its own; otherwise all have that of the first one.
            every: Ticks from one picture to the next.
            first: Number of the first picture.

        Raises:
            SpecError: If the spec asks for something that a live canvas has not.
            ConditionError: If a prompt is too long, or the record cannot be used.
            CanvasError: If a layer cannot be used, there are too many, or the record has another size.
            OutOfMemoryError: If the slots do not fit into the device's memory.
        """
        check_spec(generator.spec, every)
        self._generator, self.size, self.regions = generator, generator.spec.conditions.shape, regions
        self._turn, self._closed = threading.Lock(), threading.Event()
        self._encoder = MapEncoder(generator, seed)
        self._encoder.check(record)
        with torch_threads(generator.spec.engine.threads):
            control = ControlState(self._encoder.maps(record, background))
            nothing = self._painted(BACKGROUND, np.zeros(self.size, bool))
            self._layers = LiveLayers(embedded(generator, background), nothing, regions, control)
            self._add_first(layers)
            self._pictures = LivePictures(generator, self._layers, NoiseChoice(seed, advance), every, first)
        self._requests = EditRequests(self._layers, generator.spec.engine.threads)

    @property
    def version(self) -> int:
        """Number of edits that have been applied."""
        return self._layers.version

    @property
    def layers(self) -> list[str]:
        """Names of the layers, the lowest first; a layer that is being added is among them."""
        return self._layers.names

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
        negative: str | None = None,
        mask: Mask | None = None,
        strength: float | None = None,
        prompt_strength: float | None = None,
        blur: float = 0.0,
    ) -> Future[int]:
        """Change a layer; returns at once. Values of one call act together, once its prompt has been embedded.

        Args:
            layer: Its name, or ``BACKGROUND``, which has a prompt alone.
            prompt: Its new prompt.
            negative: Its new negative prompt; "" takes that of the spec. Read with classifier-free guidance alone.
            mask: (H, W) booleans, or values in 0..1.
            strength: Factor on the mask, 0..1.
            prompt_strength: Interpolation from the background's prompt to the layer's, 0..1.
            blur: Sigma of a Gaussian blur of ``mask``, pixels.

        Returns:
            The version of the layers that shows the edit. A ``ConditionError`` in its place if a prompt is too long,
            which is logged as well; everything stays as it was then.

        Raises:
            CanvasError: If there is no such layer, or a value is not usable.
            EngineError: If the canvas is closed.
        """
        number = self._layers.number(layer)
        of_layers = (negative, mask, strength, prompt_strength)
        if not number and any(value is not None for value in of_layers):
            raise CanvasError(key=layer, found="a mask, strength or negative prompt", expected="a prompt alone")
        check_share(layer, "strength", strength)
        check_share(layer, "prompt_strength", prompt_strength)
        painted = None if mask is None else self._painted(layer, mask, blur)
        values = LayerValues(None, painted, strength, prompt_strength)
        if prompt is None and negative is None:
            return self._layers.edit(number, values)
        return self._requests.ask(number, lambda: self._with_words(values, prompt, negative))

    def add(self, layer: LiveLayer) -> Future[int]:
        """Add a layer above all others; as ``edit``. If its prompt is too long, there is no such layer.

        Raises:
            CanvasError: If there are as many layers as there may be, one of this name, or a value is not usable.
            EngineError: If the canvas is closed.
        """
        values, number = self._values(layer), self._layers.add(layer.name)
        given = self._layers.times_given(layer.name)
        added = self._requests.ask(number, lambda: self._with_words(values, layer.prompt, layer.negative))
        added.add_done_callback(partial(self._forget_if_failed, layer.name, given))
        return added

    def remove(self, name: str) -> Future[int]:
        """Remove a layer; as ``edit``.

        Raises:
            CanvasError: If there is no such layer, or it is the background.
            EngineError: If the canvas is closed.
        """
        return self._layers.remove(name)

    def arrange(self, names: Sequence[str]) -> Future[int]:
        """Lay the layers above each other in another order; as ``edit``.

        Args:
            names: Names of all layers, the lowest first.

        Raises:
            CanvasError: If they are not those of the layers.
            EngineError: If the canvas is closed.
        """
        return self._layers.arrange(names)

    def show(self, record: ConditionRecord | None) -> Future[int]:
        """Control pictures by other condition maps; as ``edit``, once these have been encoded.

        Pictures in flight turn to the new maps with the steps that they have left; noise keeps the key of the old
        record, as does what a photo gives to start from. The first picture that is made from the new maps alone is the
        first whose ``first_version`` is not less than the version returned.

        Args:
            record: Condition maps, fitted to the size; None: prompts alone. Its painted regions are not read.

        Returns:
            As ``edit``; a ``ConditionError`` in its place if the record lacks what the spec's way of sampling needs.

        Raises:
            ConditionError: If a map that the spec uses is missing.
            CanvasError: If the record has another size.
            EngineError: If the canvas is closed.
        """
        self._encoder.check(record)
        shown = None if record is None else _copied(record)  # its owner goes on painting
        return self._requests.ask(0, lambda: ControlValues(self._encoder.maps(shown)))

    def adapt(self, scales: Mapping[str, float]) -> Future[int]:
        """Change scales of adapters and ControlNets, as ``show`` changes maps.

        Args:
            scales: Scales by name, as in ``model.adapters``; others stay. Factors by class stay as well.

        Returns:
            The version that shows them.

        Raises:
            CanvasError: If there is no such adapter, or a scale is not finite.
            EngineError: If the canvas is closed.
        """
        check_scales(self._generator, scales)
        return self._layers.edit(0, ControlValues(scales=dict(scales)))

    def settle(self, seconds: float) -> bool:
        """Wait, at most so long, until the edits that were asked for are ready to act in the next tick.

        Prompts are embedded and maps encoded while pictures advance; whoever waits before a tick sees an edit a tick
        earlier.

        Returns:
            Whether they are ready.
        """
        return self._requests.wait(seconds)

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
        while (count is None or made < count) and not self._closed.is_set():
            for frame in self.tick():
                made += 1
                yield frame

    def tick(self) -> list[LiveFrame]:
        """Advance all pictures in flight by one step; returns those that are finished, none once it is closed.

        Raises:
            CanvasError: If a picture could not be made.
        """
        with self._turn:  # not while the caller has the frame: it may close the canvas
            if self._closed.is_set():
                return []
            with torch_threads(self._generator.spec.engine.threads):
                return self._pictures.tick()

    def close(self) -> None:
        """Stop: a tick in progress ends, frames come to their end, and edits that wait fail with ``EngineError``."""
        self._closed.set()
        self._layers.close()
        self._requests.close()
        with self._turn:
            pass  # a tick may be in progress

    def _add_first(self, layers: Sequence[LiveLayer]) -> None:
        """Add layers before there are pictures, which counts as no edit."""
        for layer in layers:
            values, number = self._values(layer), self._layers.add(layer.name)
            self._layers.edit(number, self._with_words(values, layer.prompt, layer.negative))
        self._layers.apply()
        self._layers.version = 0

    def _forget_if_failed(self, name: str, times_given: int, added: Future[int]) -> None:
        if added.cancelled() or added.exception() is not None:
            self._layers.forget(name, times_given)

    def _with_words(self, values: LayerValues, prompt: str | None, negative: str | None) -> LayerValues:
        """Add embeddings of the prompts that are given.

        Raises:
            ConditionError: If one is too long.
        """
        words = None if prompt is None else embedded(self._generator, prompt)
        against = None if negative is None else negative_words(self._generator, negative)
        return replace(values, prompt=words, negative=against)

    def _values(self, layer: LiveLayer) -> LayerValues:
        return LayerValues.of(layer, self.size, self._generator.codec.downscale)

    def _painted(self, name: str, mask: Mask, blur: float = 0.0) -> PaintedMask:
        return PaintedMask.of(name, mask, self.size, self._generator.codec.downscale, blur)


def _copied(record: ConditionRecord) -> ConditionRecord:
    return replace(record, conditions={name: array.copy() for name, array in record.conditions.items()})
