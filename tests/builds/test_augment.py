"""Builds that change their images: labels stay true, values are recorded, repair makes equal bytes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dentgen.conditions.labels import INSTRUMENT
from dentgen.documents.samples import SampleMetadata
from dentgen.pipeline.repair import repair
from dentgen.pipeline.run import build
from dentgen.shards.reader import read_samples
from tests.conftest import problems, shard_bytes, small_spec, write_tar

AUGMENT: dict[str, object] = {"exposure": 0.3, "noise": 0.02, "jpeg": 70, "occluder": 1.0}
Members = dict[str, dict[str, bytes]]


@pytest.mark.slow
def test_an_augmented_build_is_consistent_and_can_be_repaired(tmp_path: Path, demo_members: Members) -> None:
    source, out = tmp_path / "conditions", tmp_path / "out"
    write_tar(source / "a.tar", dict(sorted(demo_members.items())[:3]))
    build(small_spec(source, out, augment=AUGMENT, sampling={"steps": 1}), use_ray=False)
    build(small_spec(source, tmp_path / "plain", sampling={"steps": 1}), use_ray=False)
    assert problems(out) == []
    plain = dict(read_samples(str(tmp_path / "plain")))
    for key, members in read_samples(str(out)):
        metadata = SampleMetadata.model_validate_json(members["json"])
        assert set(metadata.augment) == {"exposure", "noise", "jpeg", "occluder"}
        seg, fdi, light = (picture(members[f"{name}.png"]) for name in ("seg", "fdi", "light"))
        rod = seg == INSTRUMENT
        assert rod.any()
        assert not fdi[rod].any()
        assert not light[rod].any()
        assert set(metadata.teeth) == set(np.unique(fdi[fdi > 0]).tolist())
        for name, array in (("seg", seg), ("fdi", fdi), ("light", light)):
            assert (array == picture(plain[key][f"{name}.png"]))[~rod].all(), name
        assert SampleMetadata.model_validate_json(plain[key]["json"]).augment == {}
    before = shard_bytes(out)
    damaged = out / "shards" / sorted(before)[0]
    damaged.write_bytes(b"damaged")
    repair(str(out))
    assert shard_bytes(out) == before


def picture(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content)))
