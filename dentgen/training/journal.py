"""What a run reports: progress, losses as CSV and TensorBoard events, previews.

Loss lines are stored in the checkpoint and written with it, so a killed run continues its curve without gaps or
duplicates.
"""

from __future__ import annotations

import csv
import io
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from dentgen import storage
from dentgen.errors import SpecError
from dentgen.spec.train import TrainSpec

_LOG = logging.getLogger(__name__)
_LOSSES: Final = "losses.csv"


class Journal:
    """Report of one run, kept by one of its workers; a context manager that draws a progress bar on a terminal."""

    def __init__(self, spec: TrainSpec, start: int, rows: list[dict[str, float]]) -> None:
        """Continue after ``start`` steps, whose lines are ``rows``."""
        self._spec, self.rows = spec, rows
        self._start, self._done, self._began = start, start, time.monotonic()
        self._events = _events(spec.tensorboard, start)
        self._bar: Any = tqdm(total=spec.steps, initial=start, desc=spec.recipe, unit="step", disable=None)
        self._redirect = ExitStack()

    def __enter__(self) -> Self:
        """Print log lines above the progress bar."""
        if not self._bar.disable:
            self._redirect.enter_context(logging_redirect_tqdm())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the progress bar and the event file."""
        self._redirect.close()
        self._bar.close()
        if self._events:
            self._events.close()

    def advance(self) -> None:
        """Count one step."""
        self._done += 1
        self._bar.update()

    def line(self, step: int, values: Mapping[str, float]) -> None:
        """Add the values of a step, by name."""
        rounded = {name: float(f"{value:.6g}") for name, value in values.items()}
        self.rows.append({"step": step, **rounded})
        text = ", ".join(f"{name} {value:.4g}" for name, value in rounded.items())
        _LOG.info("%s: step %d of %d, %s; %s", self._spec.recipe, step, self._spec.steps, self._pace(), text)
        if self._events:
            for name, value in values.items():
                self._events.add_scalar(name, value, step)

    def pictures(self, step: int, columns: Sequence[Float[Tensor, "b 3 H W"]]) -> None:
        """Write a preview of images in [-1, 1], a row per record."""
        image = sheet(columns)
        content = io.BytesIO()
        Image.fromarray(image).save(content, "PNG")
        storage.overwrite(storage.join(self._spec.checkpoints, "previews", f"{step:07d}.png"), content.getvalue())
        if self._events:
            self._events.add_image("preview", image, step, dataformats="HWC")

    def write(self) -> None:
        """Write all lines as CSV."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        text = io.StringIO()
        table = csv.DictWriter(text, list(names), lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        storage.overwrite(storage.join(self._spec.checkpoints, _LOSSES), text.getvalue().encode())

    def _pace(self) -> str:
        """Rate and remaining time, from the steps of this process."""
        rate = (self._done - self._start) / max(time.monotonic() - self._began, 1e-9)
        left = tqdm.format_interval((self._spec.steps - self._done) / rate) if rate else "?"
        return f"{rate:.3g} steps/s, {left} left"


def sheet(columns: Sequence[Float[Tensor, "b 3 H W"]]) -> NDArray[np.uint8]:
    """Columns of images in [-1, 1] side by side, a row per record: (b H, columns W, 3) uint8."""
    rows = torch.cat([column.detach().float().cpu() for column in columns], dim=3)
    pixels = ((rows.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).reshape(-1, pixels.shape[3], 3).numpy()


def _events(folder: str | None, start: int) -> Any:
    """A TensorBoard writer that purges events past ``start``, which an earlier process wrote."""
    if folder is None:
        return None
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise SpecError(
            "tensorboardX is not installed", key="tensorboard", advice="pip install dentgen[train]"
        ) from error
    return SummaryWriter(folder, purge_step=start + 1 if start else None)
