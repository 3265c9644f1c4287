"""Builds that ask for findings: maps, labels, metadata and table agree; a killed build resumes to equal bytes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from dentgen.conditions.labels import LABEL_VALUES, RESTORATION, TOOTH
from dentgen.documents.samples import SampleMetadata
from dentgen.export.run import Export, export
from dentgen.pipeline.run import build
from dentgen.report.html.counts import read_summary
from dentgen.shards.layout import SAMPLES
from dentgen.shards.ledger import read_ledgers
from dentgen.shards.plan_file import read_plan
from dentgen.shards.reader import read_samples, tar_samples
from dentgen.shards.tar import png_bytes, tar_bytes
from dentgen.shards.verify_samples import sample_problems
from dentgen.spec.build import BuildSpec
from tests.conftest import ROOT, problems, shard_bytes, small_spec, write_tar

Members = dict[str, dict[str, bytes]]
FINDINGS: list[Any] = [
    {"teeth": [11, 21, 16, 26, 36, 46], "probability": 0.7, "kind": "restoration", "part": "whole",
     "prompt": "{prompt}, gold crown"},
    {"where": "gingiva", "probability": 0.5, "kind": "inflammation", "prompt": "red gums", "blur": 2.0},
]  # fmt: skip


def spec_of(source: Path, out: Path) -> BuildSpec:
    return small_spec(
        source, out, findings=FINDINGS, sampling={"steps": 2, "variants": 3, "seed": 1}, engine={"slots": 6},
        pipeline={"samples_per_shard": 3},
    )  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, demo_members: Members) -> Path:
    folder = tmp_path_factory.mktemp("conditions")
    write_tar(folder / "a.tar", dict(sorted(demo_members.items())[:4]))
    return folder


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    build(spec_of(source, out), use_ray=False)
    return out


def picture(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.slow
def test_what_was_asked_is_in_maps_metadata_and_table(source: Path, whole: Path, tmp_path: Path) -> None:
    assert problems(whole) == []
    build(small_spec(source, tmp_path, sampling={"steps": 1, "variants": 3}), use_ray=False)
    plain = dict(read_samples(str(tmp_path)))
    table = {row["key"]: row for row in pq.read_table(whole / SAMPLES).to_pylist()}
    counts = {1: 0, 2: 0}
    for key, members in read_samples(str(whole)):
        metadata = SampleMetadata.model_validate_json(members["json"])
        labels, seg = picture(members["finding.png"]), picture(members["seg.png"])
        before = picture(plain[key]["seg.png"])
        assert {one.label: one.pixels for one in metadata.findings} == {
            int(value): int((labels == value).sum()) for value in np.unique(labels) if value
        }
        crowned = (labels == 1) & (before == TOOTH)
        assert (seg[crowned] == RESTORATION).all()
        assert (seg[~crowned] == before[~crowned]).all()
        assert table[key]["findings"] == [one.kind for one in metadata.findings]
        assert table[key]["findings_missed"] == [one.kind for one in metadata.findings if one.found is False]
        for one in metadata.findings:
            counts[one.label] += 1
            assert one.found is not None
    assert all(3 <= count <= 12 for count in counts.values()), counts


@pytest.mark.integration
def test_a_damaged_finding_map_is_a_problem(whole: Path) -> None:
    """A value that no finding of the spec has."""
    plan = read_plan(str(whole))
    record = next(iter(read_ledgers(str(whole), [unit.name for unit in plan.units])))
    shard = whole / "shards" / record.shard
    samples = {key: dict(members) for key, members in tar_samples(shard.read_bytes())}
    first = min(samples)
    samples[first]["finding.png"] = png_bytes(np.full((64, 64), 3, np.uint8))
    found = list(sample_problems(tar_bytes(samples.items()), record, plan, LABEL_VALUES))
    assert {key for key, _ in found} == {first}
    assert len(found) == 2, "a value that no finding has, and pixels that the metadata do not tell of"
    assert all("finding.png" in text for _, text in found)


@pytest.mark.integration
def test_bars_and_rods_hide_findings_everywhere(source: Path, tmp_path: Path) -> None:
    """Map, metadata, table and ledger tell of what is seen."""
    build(
        small_spec(
            source, tmp_path, findings=FINDINGS, sampling={"steps": 1, "variants": 4}, engine={"slots": 6},
            augment={"occluder": 1.0, "border": 0.5},
        ),
        use_ray=False,
    )  # fmt: skip
    assert problems(tmp_path) == []


@pytest.mark.integration
def test_the_report_counts_findings(whole: Path) -> None:
    rows = pq.read_table(whole / SAMPLES).to_pylist()
    asked = Counter(kind for row in rows for kind in row["findings"])
    judged = [
        finding
        for _, members in read_samples(str(whole))
        for finding in SampleMetadata.model_validate_json(members["json"]).findings
    ]
    found = Counter(finding.kind for finding in judged if finding.found)
    summary = read_summary(str(whole), read_plan(str(whole)))
    assert {each.kind: (each.asked, each.found) for each in summary.findings} == {
        kind: (count, found[kind]) for kind, count in asked.items()
    }
    assert set(asked) == {"restoration", "inflammation"}
    page = (whole / "report.html").read_text()
    for kind, count in asked.items():
        row = page[page.index(f'<th scope="row">{kind}</th>') :]
        assert f'<td class="figure">{count}</td>' in row[: row.index("</tr>")]


def test_exported_teeth_say_what_was_asked_of_them(whole: Path, tmp_path: Path) -> None:
    export(Export(str(whole), str(tmp_path / "coco"), "coco"), workers=1)
    found = [json.loads(path.read_text()) for path in sorted((tmp_path / "coco").glob("**/*.json"))]
    sets = [content for content in found if isinstance(content, dict) and "annotations" in content]
    asked = {image["key"]: set[int]() for content in sets for image in content["images"]}
    for content in sets:
        keys = {image["id"]: image["key"] for image in content["images"]}
        for one in content["annotations"]:
            assert set(one["attributes"]["found"]) <= set(one["attributes"]["asked"])
            if one["attributes"]["tooth"] and "restoration" in one["attributes"]["asked"]:
                asked[keys[one["image_id"]]].add(one["attributes"]["tooth"])
    for key, members in read_samples(str(whole)):
        (crowns,) = [
            set(each.teeth)
            for each in SampleMetadata.model_validate_json(members["json"]).findings
            if each.kind == "restoration"
        ] or [set()]
        assert asked[key] == crowns, key


@pytest.mark.slow
def test_a_killed_build_resumes_to_the_same_bytes(source: Path, whole: Path, tmp_path: Path) -> None:
    spec = spec_of(source, tmp_path)
    script = "import sys, dentgen; dentgen.build(dentgen.BuildSpec.model_validate_json(sys.argv[1]), use_ray=False)"
    process = subprocess.Popen(
        [sys.executable, "-c", script, spec.model_dump_json()], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    ledger = tmp_path / "ledger"
    while process.poll() is None and not (ledger.exists() and any(ledger.iterdir())):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "killed while it was building"
    assert len(shard_bytes(tmp_path)) < len(shard_bytes(whole))
    build(spec, use_ray=False)
    assert shard_bytes(tmp_path) == shard_bytes(whole)
    assert problems(tmp_path) == []
