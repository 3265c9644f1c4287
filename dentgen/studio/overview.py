"""What the page shows of a document, as plain values: choices once, then the state after every change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final, get_args

import numpy as np

from dentgen.conditions.labels import DRAWN_CLASSES, FDI_NUMBERS, SEG_CLASSES
from dentgen.conditions.lesion_map import LESION_COLOURS, LESIONS
from dentgen.phantom.camera import VIEWS
from dentgen.records import MAX_PAINTED
from dentgen.spec.build import BuildSpec
from dentgen.spec.sampling import SchedulerName
from dentgen.spec.section import ClassName
from dentgen.studio.messages import binary
from dentgen.studio.planes import Plane, Rectangle
from dentgen.studio.work import FDI, Work

#: In the page only: these classes have no colour of their own in control images.
_UNDRAWN: Final = {3: (150, 90, 84), 255: (255, 0, 255)}


def choices(spec: BuildSpec) -> dict[str, Any]:
    """What does not change while the studio runs."""
    height, width = spec.conditions.shape
    colours = {**_UNDRAWN, **DRAWN_CLASSES}
    return {
        "type": "choices",
        "height": height,
        "width": width,
        "classes": [{"value": value, "name": name, "colour": colours[value]} for value, name in SEG_CLASSES.items()],
        "findings": [
            {"value": value, "name": LESIONS[value], "colour": colour} for value, colour in LESION_COLOURS.items()
        ],
        "teeth": sorted(FDI_NUMBERS),
        "schedulers": list(get_args(SchedulerName)) if isinstance(spec.sampling.scheduler, str) else [],
        "class_names": list(get_args(ClassName)),
        "views": list(VIEWS),
        "max_layers": MAX_PAINTED,
        "bundle": spec.model.bundle,
        "use": list(spec.conditions.use),
    }


def state(work: Work) -> dict[str, Any]:
    """The document without its maps."""
    snapshot = work.snapshot()
    undo, redo = work.depth
    teeth = np.unique(work.planes[FDI])
    return {
        "type": "state",
        "version": snapshot.version,
        "key": snapshot.record.key,
        "prompt": snapshot.record.prompt,
        "photo": snapshot.record.photo is not None,
        "planes": [name for name in work.planes if not name.startswith("layer ")],
        "layers": [asdict(layer) for layer in snapshot.layers],
        "settings": snapshot.settings.model_dump(mode="json"),
        "teeth": [int(number) for number in teeth if number],
        "undo": undo,
        "redo": redo,
    }


def plane_message(name: str, plane: Plane, where: Rectangle) -> bytes:
    """A rectangle of a map as a message; of 16 bits the upper eight."""
    part = plane[where.window]
    shown = (part >> 8).astype(np.uint8) if part.dtype == np.uint16 else part.astype(np.uint8)
    channels = 1 if part.ndim == 2 else part.shape[2]
    header = {
        "type": "plane",
        "name": name,
        "top": where.top,
        "left": where.left,
        "height": part.shape[0],
        "width": part.shape[1],
        "channels": channels,
    }
    return binary(header, np.ascontiguousarray(shown).tobytes())


def whole_planes(work: Work) -> Sequence[bytes]:
    """All maps and masks as messages."""
    planes = dict(work.planes)
    return [plane_message(name, plane, Rectangle.whole(plane)) for name, plane in planes.items()]
