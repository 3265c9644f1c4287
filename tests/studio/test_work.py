"""The document: changes, layers, snapshots that stay as they were."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.errors import SpecError
from dentgen.studio.planes import Rectangle
from dentgen.studio.work import Changed
from tests.studio.documents import SETTINGS, SHAPE, small_record, small_work


def test_a_snapshot_stays_as_it_was() -> None:
    work = small_work()
    before = work.snapshot()
    work.change("x", {"segmentation": (Rectangle(0, 0, 4, 4), np.full((4, 4), 2, np.uint8))})
    after = work.snapshot()
    assert before.version < after.version
    assert (before.record.conditions["segmentation"][:4, :4] == 1).all()
    assert (after.record.conditions["segmentation"][:4, :4] == 2).all()
    assert before.record.conditions["lighting"] is after.record.conditions["lighting"], "unchanged maps are shared"


def test_listeners_hear_what_changed() -> None:
    work, heard = small_work(), list[Changed]()
    work.listen(heard.append)
    where = Rectangle(2, 3, 4, 9)
    work.change("x", {"fdi": (where, np.zeros((2, 6), np.uint8)), "no such plane": (where, np.zeros((2, 6)))})
    work.set(prompt="other")
    assert heard == [{"fdi": where}, {}]


def test_layers_become_painted_regions_unless_hidden() -> None:
    work = small_work()
    first, second = work.add_layer("", "red gum"), work.add_layer("crown", "gold")
    work.change_layer(first.number, visible=False)
    work.change("x", {second.plane: (Rectangle(0, 0, 2, 2), np.ones((2, 2), np.uint8))})
    snapshot = work.snapshot()
    (region,) = snapshot.record.painted
    assert (region.name, region.prompt, int(region.mask.sum())) == ("crown", "gold", 4)
    assert [each.name for each in snapshot.regions] == ["region 1", "crown"]
    work.open(snapshot.record)
    assert [(layer.name, layer.number > second.number) for layer in work.layers] == [("crown", True)]
    assert work.planes[work.layers[0].plane].sum() == 4


def test_layers_move_and_go() -> None:
    work = small_work()
    numbers = [work.add_layer("", "").number for _ in range(3)]
    work.move_layer(numbers[0], 1)
    assert [layer.number for layer in work.layers] == [numbers[1], numbers[0], numbers[2]]
    work.move_layer(numbers[1], -1)
    work.remove_layer(numbers[0])
    assert [layer.number for layer in work.layers] == [numbers[1], numbers[2]]
    assert f"layer {numbers[0]}" not in work.planes
    work.undo()  # nothing of a layer that is gone


def test_names_of_layers_differ() -> None:
    work = small_work()
    work.add_layer("a", "")
    other = work.add_layer("b", "")
    for change in (lambda: work.add_layer("a", ""), lambda: work.change_layer(other.number, name="a")):
        with pytest.raises(SpecError) as caught:
            change()
        assert (caught.value.key, caught.value.found) == ("name", "a region named a")


def test_there_are_at_most_eight_layers() -> None:
    work = small_work()
    for _ in range(8):
        work.add_layer("", "")
    with pytest.raises(SpecError) as caught:
        work.add_layer("", "")
    assert (caught.value.key, caught.value.found, caught.value.expected) == ("layers", 9, "at most 8")


def test_an_unknown_layer_is_named() -> None:
    with pytest.raises(SpecError) as caught:
        small_work().remove_layer(7)
    assert (caught.value.key, caught.value.found) == ("layer", 7)


def test_opening_begins_a_new_history_and_keeps_settings() -> None:
    work = small_work()
    work.change("x", {"fdi": (Rectangle(0, 0, 1, 1), np.full((1, 1), 36, np.uint8))})
    work.set(settings=SETTINGS.model_copy(update={"seed": 9}))
    work.open(small_record())
    assert (work.depth, work.settings.seed, work.planes["fdi"][0, 0]) == ((0, 0), 9, 0)


def test_a_record_without_tooth_numbers_has_none_until_one_is_painted() -> None:
    work = small_work(fdi=None)
    assert work.snapshot().record.fdi is None
    work.change("x", {"fdi": (Rectangle(0, 0, 1, 1), np.full((1, 1), 36, np.uint8))})
    fdi = work.snapshot().record.fdi
    assert fdi is not None
    assert fdi.shape == SHAPE
