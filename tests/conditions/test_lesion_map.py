"""Values of the lesion map are distinct and named, their colours tell them from each other and from classes."""

from __future__ import annotations

import numpy as np

from dentgen.conditions import lesion_map
from dentgen.conditions.labels import DRAWN_CLASSES, IGNORE


def test_every_value_has_a_name_of_its_own() -> None:
    constants = {name: value for name, value in vars(lesion_map).items() if name.isupper() and isinstance(value, int)}
    values = sorted({value for name, value in constants.items() if name != "IGNORE"})
    assert values == list(range(1, 15))
    assert sorted(lesion_map.LESIONS) == [0, *values, IGNORE]
    assert len(set(lesion_map.LESIONS.values())) == 16


def test_every_lesion_has_a_colour_that_no_class_has() -> None:
    colours = [*lesion_map.LESION_COLOURS.values(), *DRAWN_CLASSES.values()]
    assert lesion_map.LESION_COLOURS.keys() == set(range(1, 15))
    assert len(set(colours)) == len(colours)


def test_lesions_are_painted_and_nothing_else() -> None:
    image = np.full((1, 4, 3), 9, np.uint8)
    painted = lesion_map.paint_lesions(image, np.array([[0, lesion_map.CAVITY, IGNORE, lesion_map.VENEER]], np.uint8))
    assert painted.tolist() == [[[9, 9, 9], [46, 22, 10], [9, 9, 9], [252, 240, 255]]]
