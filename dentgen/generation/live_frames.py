"""Pictures of a live canvas in flight, each at its own step, and the frames that they become."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dentgen.diffusion.canvas import Canvas, Finished
from dentgen.diffusion.regions import Layers
from dentgen.errors import CanvasError
from dentgen.generation.engines import build_engine
from dentgen.generation.generator import Generator
from dentgen.generation.live_edits import LiveLayers
from dentgen.generation.live_layers import label_map
from dentgen.seeding import NoiseKey


@dataclass(frozen=True, slots=True, eq=False)
class LiveFrame:
    """One picture of a live canvas.

    Attributes:
        index: Its number, from that of the first picture.
        picture: (H, W, 3) uint8.
        labels: (H, W) uint8: at each pixel the number of the uppermost layer at its last step, from 1 in the order of
            ``masks``; 0 where there is none.
        masks: (H, W) float32 mask of every layer at its last step, by name, the lowest first.
        first_version: Version that its first step saw: the number of edits that had been applied. Condition maps and
            scales are those of this version.
        last_version: Version that its last step saw; the same if nothing was edited meanwhile.
    """

    index: int
    picture: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    masks: dict[str, NDArray[np.float32]]
    first_version: int
    last_version: int


@dataclass(frozen=True, slots=True)
class NoiseChoice:
    """The noise of pictures.

    Attributes:
        seed: Seed.
        advance: Whether each picture has noise of its own; otherwise all begin with that of the first one.
    """

    seed: int
    advance: bool

    def key(self, name: str, index: int) -> NoiseKey:
        """Noise of the picture of a number: that of a build's variant of this number of the record ``name``."""
        return NoiseKey(self.seed, name, index if self.advance else 0)


@dataclass(slots=True)
class _Running:
    """A picture in flight: its number, and the version that its first step saw."""

    index: int
    first_version: int


class LivePictures:
    """A stream batch of pictures in an engine of its own. One thread at a time ticks.

    Attributes:
        engine: The engine, with as many slots as the pictures in flight have rows.
        ticks: Ticks so far.
    """

    def __init__(
        self, generator: Generator, layers: LiveLayers, noise: NoiseChoice, every: int, first: int = 0
    ) -> None:
        """Start the engine.

        Args:
            generator: Models and settings.
            layers: Layers and control, edited meanwhile.
            noise: Noise of the pictures.
            every: Ticks from one picture to the next.
            first: Number of the first picture.

        Raises:
            CanvasError: If a layer cannot be used.
            OutOfMemoryError: If the slots do not fit into the device's memory.
        """
        self._layers, self._noise, self._every = layers, noise, every
        self._codec, self._size = generator.codec.in_batches(1), generator.spec.conditions.shape
        self._running: dict[str, _Running] = {}
        self._entered, self.ticks = first, 0
        example = self.canvas(first)
        rows = len(example.rows(0)) * -(-generator.table.num_steps // every)
        self.engine = build_engine(generator, rows, rows, len(example.layers.regions))
        self.engine.warm_up()
        self._codec.warm_up(self.engine.shape.latent_size)

    def tick(self) -> list[LiveFrame]:
        """Apply edits, begin a picture if it is time, and advance all by one step; returns those that are finished.

        Raises:
            CanvasError: If a picture could not be made.
        """
        updates = self._layers.apply()
        told = [self.engine.update(key, update) for update in updates for key in self._running]
        if self.ticks % self._every == 0:
            self._begin()
        self.ticks += 1
        outcomes = self.engine.tick()
        for each in told:
            each.result()
        frames = []
        for outcome in outcomes:
            running = self._running.pop(outcome.key)
            if not isinstance(outcome, Finished):
                raise outcome.error
            frames.append(self._frame(running, outcome.latents))
        return frames

    def canvas(self, index: int) -> Canvas:
        """The picture of a number, with layers and control as they are now."""
        control, layers = self._layers.control, Layers(self._layers.regions())
        noise, own = self._noise.key(control.key, index), self._layers.prompt
        canvas = replace(control.canvas, key=f"frame {index}", noise=noise, prompt=own, layers=layers)
        canvas.check()
        return canvas

    def _begin(self) -> None:
        canvas = self.canvas(self._entered)
        self.engine.submit(canvas)
        self._running[canvas.key] = _Running(self._entered, self._layers.version)
        self._entered += 1

    def _frame(self, running: _Running, latents: Tensor) -> LiveFrame:
        (picture,) = self._codec.decode_finite([latents])
        if picture is None:
            found, expected = "values that are not finite", "a picture"
            raise CanvasError("live canvas", key=f"frame {running.index}", found=found, expected=expected)
        shown = self._layers.masks()
        labels = label_map(shown.values(), self._size)
        return LiveFrame(running.index, picture, labels, shown, running.first_version, self._layers.version)
