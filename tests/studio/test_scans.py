"""Jaw scans as documents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dentgen.errors import ConditionError, SpecError
from dentgen.spec.build import BuildSpec
from dentgen.studio.scans import scanned
from tests.ingest.scans.jaws import cast, write_obj, write_unlabelled
from tests.studio.conftest import SPEC

SMALL = BuildSpec.model_validate({**SPEC, "conditions": {"size": 64}})


def test_a_view_of_a_scan_has_all_maps(tmp_path: Path) -> None:
    path = write_obj(tmp_path / "p_upper.obj", cast("upper-occlusal"), 3)
    record = scanned(str(path), "upper-occlusal", SMALL)
    assert record.shape == (64, 64)
    assert record.conditions.keys() == {"segmentation", "lighting", "normal", "curvature", "depth"}
    assert record.group == "p"
    assert record.fdi is not None
    assert set(np.unique(record.fdi) // 10) <= {0, 1, 2}
    assert (record.conditions["segmentation"] == 2).mean() > 0.05


def test_a_view_that_it_does_not_have_is_named(tmp_path: Path) -> None:
    path = write_obj(tmp_path / "p_upper.obj", cast("upper-occlusal"), 3)
    with pytest.raises(SpecError) as caught:
        scanned(str(path), "lower-occlusal", SMALL)
    assert (caught.value.key, caught.value.found) == ("view", "lower-occlusal")


def test_a_scan_without_labels_is_refused(tmp_path: Path) -> None:
    path = write_unlabelled(tmp_path / "p.obj", cast("upper-occlusal"))
    with pytest.raises(ConditionError) as caught:
        scanned(str(path), "frontal", SMALL)
    assert (caught.value.file, caught.value.found) == (str(path), "no labels")
