"""Training of the judges; imports nothing heavy, so that the command line can show the defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """Training of the judges; of one core, the defaults take four minutes per segmenter at 128 px, half an hour at 256.

    Attributes:
        records: Reference images to train on.
        unet_steps, dilated_steps: Steps of 8 images, per segmenter.
        detector_steps: The same for each classifier of generated images.
    """

    records: int = 400
    unet_steps: int = 450
    dilated_steps: int = 700
    detector_steps: int = 400


DEFAULT_JUDGES: Final = JudgeSettings()
