"""The edits that turn a live canvas which shows one document into one that shows another."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future

import numpy as np

from dentgen.generation.live import LiveCanvas
from dentgen.generation.live_layers import BACKGROUND, LiveLayer
from dentgen.studio.work import Layer, Snapshot

#: What an edit is of, for people, and the edit.
NamedEdit = tuple[str, Future[int]]


def live_layers(snapshot: Snapshot) -> list[LiveLayer]:
    """A document's layers, the lowest first; hidden ones have no strength."""
    return [_live_layer(layer, snapshot) for layer in snapshot.layers]


def has_room(canvas: LiveCanvas, snapshot: Snapshot) -> bool:
    """Whether a canvas can show a document: it has room for all layers of which anything is to be seen."""
    names = {str(layer.number) for layer in snapshot.layers if _is_seen(layer, snapshot)}
    others = names - set(canvas.layers)
    kept = {str(layer.number) for layer in snapshot.layers} & set(canvas.layers)
    return len(kept) + len(others) <= canvas.regions


def edits(canvas: LiveCanvas, old: Snapshot, new: Snapshot) -> Iterator[NamedEdit]:
    """Ask a canvas for what differs between two documents.

    Layers that the canvas has no room for are left out, those with nothing to be seen first.

    Args:
        canvas: A canvas that was told ``old``.
        old: The document before.
        new: The document now.

    Yields:
        What each edit is of, and the edit.
    """
    if old.record.prompt != new.record.prompt:
        yield "prompt", canvas.edit(BACKGROUND, prompt=new.record.prompt)
    if _maps_differ(old, new):
        yield "maps", canvas.show(new.record)
    if scales := _changed_scales(old, new):
        yield "scales", canvas.adapt(scales)
    yield from _removed(canvas, new)
    yield from _layer_edits(canvas, old, new)
    yield from _arranged(canvas, new)


def _removed(canvas: LiveCanvas, new: Snapshot) -> Iterator[NamedEdit]:
    numbers = {str(layer.number) for layer in new.layers}
    for name in canvas.layers:
        if name not in numbers:
            yield f"removal {name}", canvas.remove(name)


def _layer_edits(canvas: LiveCanvas, old: Snapshot, new: Snapshot) -> Iterator[NamedEdit]:
    """Edits of the layers that the canvas has, then the others, as far as there is room."""
    before, has = {layer.number: layer for layer in old.layers}, set(canvas.layers)
    others = []
    for layer in new.layers:
        if str(layer.number) in has:
            yield from _changes(canvas, (before[layer.number], old), (layer, new))
        else:
            others.append(layer)
    room = canvas.regions - len(has)
    for layer in sorted(others, key=lambda each: not _is_seen(each, new))[:room]:
        yield f"layer {layer.number}", canvas.add(_live_layer(layer, new))


def _arranged(canvas: LiveCanvas, new: Snapshot) -> Iterator[NamedEdit]:
    has = canvas.layers
    wanted = [name for layer in new.layers if (name := str(layer.number)) in has]
    if wanted != has:
        yield "order", canvas.arrange(wanted)


def _changes(canvas: LiveCanvas, old: tuple[Layer, Snapshot], new: tuple[Layer, Snapshot]) -> Iterator[NamedEdit]:
    """Edits of one layer."""
    before, after = _live_layer(*old), _live_layer(*new)
    number = new[0].number
    if old[1].masks[number] is not new[1].masks[number] or before.blur != after.blur:
        yield f"mask {number}", canvas.edit(after.name, mask=after.mask, blur=after.blur)
    if before.prompt != after.prompt:
        yield f"prompt {number}", canvas.edit(after.name, prompt=after.prompt)
    if before.negative != after.negative:
        yield f"negative prompt {number}", canvas.edit(after.name, negative=after.negative)
    if (before.strength, before.prompt_strength) != (after.strength, after.prompt_strength):
        yield (
            f"strength {number}",
            canvas.edit(after.name, strength=after.strength, prompt_strength=after.prompt_strength),
        )


def _live_layer(layer: Layer, snapshot: Snapshot) -> LiveLayer:
    mask = snapshot.masks[layer.number].astype(np.float32)
    strength = layer.strength if layer.visible else 0.0
    return LiveLayer(
        str(layer.number), layer.prompt, mask, strength, layer.prompt_strength, layer.blur, layer.negative_prompt
    )


def _is_seen(layer: Layer, snapshot: Snapshot) -> bool:
    """Whether a layer changes anything in pictures."""
    return layer.visible and layer.strength > 0 and bool(snapshot.masks[layer.number].any())


def _maps_differ(old: Snapshot, new: Snapshot) -> bool:
    """Whether any map does; they are never written to, so identity tells."""
    before, after = old.record.conditions, new.record.conditions
    same = before.keys() == after.keys() and all(before[name] is after[name] for name in before)
    return not same or old.record.key != new.record.key


def _changed_scales(old: Snapshot, new: Snapshot) -> dict[str, float]:
    before = old.settings.adapters
    scales = new.settings.adapters.items()
    return {name: scale for name, scale in scales if isinstance(scale, float) and before.get(name) != scale}
