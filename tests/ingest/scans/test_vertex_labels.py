"""Labels are whole FDI numbers, one for each vertex; a triangle has that of two of its corners."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dentgen.errors import ConditionError
from dentgen.ingest.scans.vertex_labels import of_faces, read_teeth3ds, require_numbers, whole_numbers


def test_two_corners_decide_else_the_first() -> None:
    labels = np.array([11, 12, 12, 13])
    faces = np.array([[0, 1, 2], [0, 0, 1], [1, 0, 2], [0, 1, 3]])
    assert of_faces(labels, faces).tolist() == [12, 11, 12, 11]


def test_fractions_and_counts_are_refused() -> None:
    assert whole_numbers("x", "label", np.array([11.0, 0.0]), 2).tolist() == [11, 0]
    for values in ([11.5, 0.0], [1e300, 0.0], [11.0]):
        with pytest.raises(ConditionError) as caught:
            whole_numbers("x.ply", "label", np.array(values), 2, "triangles")
        assert (caught.value.file, caught.value.expected) == ("x.ply", "a whole number for each of 2 triangles")


def test_several_numbers_for_each_vertex_are_refused() -> None:
    with pytest.raises(ConditionError) as caught:
        whole_numbers("x.vtp", "label", np.full((2, 3), 11.0), 2)
    assert (caught.value.file, caught.value.found) == ("x.vtp", "values of 'label' of shape (2, 3)")
    assert caught.value.expected == "a whole number for each of 2 vertices"


def test_numbers_that_no_tooth_has_are_named() -> None:
    require_numbers("x", whole_numbers("x", "label", np.array([0.0, 11.0, 85.0]), 3))
    with pytest.raises(ConditionError) as caught:
        require_numbers("x", whole_numbers("x", "label", np.array([0.0, 19.0, 86.0, np.nan]), 4))
    assert caught.value.found == "labels [-1, 19, 86]"


def test_teeth3ds_has_a_label_for_each_vertex() -> None:
    labels, jaw = read_teeth3ds("x", json.dumps({"jaw": "lower", "labels": [0, 31]}).encode(), 2)
    assert (labels.tolist(), jaw) == ([0, 31], "lower")
    with pytest.raises(ConditionError) as caught:
        read_teeth3ds("x.json", b'{"labels": [0]}', 2)
    assert (caught.value.file, caught.value.found) == ("x.json", "1 labels")
