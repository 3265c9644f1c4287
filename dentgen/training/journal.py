"""What a run tells while it goes: progress, losses as CSV and for TensorBoard, sheets of pictures.

Lines are kept with the checkpoint and written with it, so a run that was killed continues its curve without gap or
double. Refuses to know what is trained.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from dentgen import storage
from dentgen.errors import SpecError
from dentgen.spec.train import TrainSpec

_LOSSES: Final = "losses.csv"


class Journal:
    """Log of one run; only one of several workers has one."""

    def __init__(self, spec: TrainSpec, start: int, rows: list[dict[str, float]]) -> None:
        """Go on after ``start`` steps whose log is ``rows``."""
        self._spec, self.rows = spec, rows
        self._events = _events(spec.tensorboard, start)
        self._progress = tqdm(total=spec.steps, initial=start, desc=spec.recipe, unit="step", mininterval=10)

    def advance(self) -> None:
        """One step more is done."""
        self._progress.update()

    def line(self, step: int, values: Mapping[str, float]) -> None:
        """Add a line: values of a step by name."""
        rounded = {name: float(f"{value:.6g}") for name, value in values.items()}
        self.rows.append({"step": step, **rounded})
        self._progress.set_postfix(rounded, refresh=False)
        if self._events:
            for name, value in values.items():
                self._events.add_scalar(name, value, step)

    def pictures(self, step: int, columns: Sequence[Float[Tensor, "b 3 H W"]]) -> None:
        """Keep a sheet of pictures in [-1, 1], a row for each record."""
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

    def close(self) -> None:
        """Write what is left."""
        self.write()
        self._progress.close()
        if self._events:
            self._events.close()


def sheet(columns: Sequence[Float[Tensor, "b 3 H W"]]) -> NDArray[np.uint8]:
    """Pictures in [-1, 1] side by side, records below each other: (b H, columns W, 3)."""
    rows = torch.cat([column.detach().float().cpu() for column in columns], dim=3)
    pixels = ((rows.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).reshape(-1, pixels.shape[3], 3).numpy()


def _events(folder: str, start: int) -> Any:
    """A writer of TensorBoard's events; what an earlier process wrote past ``start`` is hidden by it."""
    if not folder:
        return None
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise SpecError("tensorboard: found no tensorboardX, expected `pip install dentgen[train]`") from error
    return SummaryWriter(folder, purge_step=start + 1 if start else None)
