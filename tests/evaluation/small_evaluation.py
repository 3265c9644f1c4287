"""Sizes of the real, tiny evaluations, and a reference set of ``JAWS``, which needs no rendering."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dentgen.conditions.decode import decode_record
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.evaluation.judge_settings import JudgeSettings
from dentgen.evaluation.reference_set import ReferenceSet
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import read_spec
from tests.conftest import ROOT, write_tar

SIZE, RECORDS = 64, 10
#: Judges that hardly learn: figures of such runs mean nothing.
FEW = JudgeSettings(records=RECORDS, unet_steps=4, dilated_steps=4, detector_steps=3)
DEMO_SPEC = ROOT / "jobs" / "specs" / "demo.yaml"


def small_build_spec(*overrides: str) -> BuildSpec:
    """The demo's spec at 64 px with two steps."""
    return read_spec(DEMO_SPEC, [f"conditions.size={SIZE}", "sampling.steps=2", *overrides])


def demo_reference(folder: Path, demo_members: dict[str, dict[str, bytes]], count: int) -> ReferenceSet:
    """The first records of ``JAWS`` as a reference set of 128 px, its shard in a folder."""
    write_tar(folder / "demo.tar", {key: demo_members[key] for key in sorted(demo_members)[:count]})
    (shard,) = list_shards(str(folder))
    records = [decode_record(raw, ("segmentation", "lighting"), with_photo=True) for raw in read_records(shard)]
    return ReferenceSet(
        str(folder),
        [record.key for record in records],
        [record.group for record in records],
        [record.prompt for record in records],
        np.stack([record.photo for record in records if record.photo is not None]),
        np.stack([record.conditions["segmentation"] for record in records]).astype(np.uint8),
        np.stack([record.fdi for record in records if record.fdi is not None]),
        np.stack([record.conditions["lighting"] for record in records]).astype(np.uint8),
        np.stack([record.conditions["segmentation"] for record in records]).astype(np.uint8),
    )


def build_names(work: Path) -> set[str]:
    """Builds that a work folder holds."""
    return {path.name for path in (work / "builds").iterdir()}
