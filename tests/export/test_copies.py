"""Marked exports: which files change, which do not, what continues, and where the key is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from dentgen.errors import SpecError
from dentgen.export.marking import Marker
from dentgen.export.run import STATE, Export, export
from dentgen.export.watermark import THRESHOLD, score, signs_of
from tests.export.hard_sets import write_hard_set
from tests.export.interruption import interrupt_second_shard
from tests.export.marked_builds import KEY, OTHER_KEY, decoded, key_file, large_build
from tests.report.fake_builds import fake_build, written


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def marked(source: Path, out: Path, key: str | None, layout: Any = "coco", workers: int = 1) -> dict[str, bytes]:
    """Export; all files but those of the state."""
    marker = Marker(key) if key else None
    outcome = export(Export(str(source), str(out), layout, marker=marker), workers=workers)
    assert (outcome.written, outcome.rejected) == (4, ())
    return {name: content for name, content in files(out).items() if not name.startswith(STATE)}


@pytest.mark.parametrize("layout", ["coco", "csv", "monai", "nnunet", "yolo-semantic", "voc"])
def test_pictures_are_marked_and_nothing_else(layout: str, tmp_path: Path) -> None:
    source, key = large_build(tmp_path / "build"), key_file(tmp_path)
    before = files(source)
    plain = marked(source, tmp_path / "plain", None, layout)
    copies = marked(source, tmp_path / "out", key, layout)
    assert files(source) == before
    changed = {name for name in plain if plain[name] != copies[name]}
    assert plain.keys() == copies.keys()
    assert len(changed) == 4
    for name in changed:
        assert score(decoded(copies[name]), signs_of(KEY)) > THRESHOLD
        assert score(decoded(plain[name]), signs_of(KEY)) < THRESHOLD
        assert {"images", "imagesTr", "imagesTs", "JPEGImages"} & set(Path(name).parts), name


def test_pictures_in_parquet_are_marked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    copies = marked(large_build(tmp_path / "build"), out, key_file(tmp_path), "parquet")
    plain = marked(tmp_path / "build", tmp_path / "plain", None, "parquet")
    names = [name for name in copies if name.endswith(".parquet")]
    assert names
    for name in names:
        rows, others = (pq.read_table(folder / name).to_pylist() for folder in (out, tmp_path / "plain"))
        for row, other in zip(rows, others, strict=True):
            assert score(decoded(row["image"]["bytes"]), signs_of(KEY)) > THRESHOLD
            different = {column for column in row if row[column] != other[column]}
            assert different == {"image"}
    assert plain.keys() == copies.keys()


@pytest.mark.integration
def test_two_exports_with_one_key_are_the_same(tmp_path: Path) -> None:
    source, key = large_build(tmp_path / "build"), key_file(tmp_path)
    first = marked(source, tmp_path / "first", key)
    assert marked(source, tmp_path / "second", key, workers=2) == first
    assert marked(source, tmp_path / "third", key_file(tmp_path, OTHER_KEY, "other.key")) != first


@pytest.mark.parametrize("after", ["another", "none"])
def test_a_resumed_export_keeps_to_its_key(after: str, tmp_path: Path) -> None:
    source, out, key = large_build(tmp_path / "build"), tmp_path / "out", key_file(tmp_path)
    marked(source, out, key)
    before = files(out)
    other = Marker(key_file(tmp_path, OTHER_KEY, "other.key")) if after == "another" else None
    with pytest.raises(SpecError) as caught:
        export(Export(str(source), str(out), "coco", marker=other), workers=1)
    assert caught.value.file == str(out / STATE / "export.json")
    assert caught.value.found["watermark_id"] == Marker(key).checked()
    assert caught.value.expected.get("watermark_id") == (other and other.checked())
    assert files(out) == before


def test_an_export_without_marks_does_not_continue_with_them(tmp_path: Path) -> None:
    source, out = large_build(tmp_path / "build"), tmp_path / "out"
    marked(source, out, None)
    with pytest.raises(SpecError) as caught:
        marked(source, out, key_file(tmp_path))
    assert "watermark_id" not in caught.value.found
    assert "watermark_id" in caught.value.expected


def test_an_interrupted_export_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, key = large_build(tmp_path / "build"), key_file(tmp_path)
    whole = marked(source, tmp_path / "whole", key)
    interrupt_second_shard(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        marked(source, tmp_path / "out", key)
    assert marked(source, tmp_path / "out", key) == whole


@pytest.mark.integration
def test_the_key_is_written_nowhere(tmp_path: Path) -> None:
    source, key = large_build(tmp_path / "build"), key_file(tmp_path)
    marked(source, tmp_path / "out", key, workers=2)
    secrets = [KEY, KEY.hex().encode(), KEY[:16], json.dumps(list(KEY)).encode()]
    for name, content in files(tmp_path / "out").items():
        assert not [secret for secret in secrets if secret in content], name


def test_a_key_in_the_destination_is_refused(tmp_path: Path) -> None:
    source, key = large_build(tmp_path / "build"), key_file(tmp_path / "out" / "keys")
    with pytest.raises(SpecError) as caught:
        marked(source, tmp_path / "out" / "keys" / "..", key)
    assert (caught.value.file, caught.value.key) == (key, "--watermark")
    assert not (tmp_path / "out" / STATE).exists()


def test_condition_records_are_refused(tmp_path: Path) -> None:
    write_hard_set(tmp_path / "set")
    with pytest.raises(SpecError) as caught:
        marked(tmp_path / "set", tmp_path / "out", key_file(tmp_path))
    assert (caught.value.file, caught.value.key) == (str(tmp_path / "set"), "--watermark")
    assert caught.value.found == "condition records"
    assert not (tmp_path / "out").exists()


def test_an_unfit_key_writes_nothing(tmp_path: Path) -> None:
    key = key_file(tmp_path, b"short")
    with pytest.raises(SpecError) as caught:
        marked(large_build(tmp_path / "build"), tmp_path / "out", key)
    assert (caught.value.file, caught.value.found) == (key, "5 bytes")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("size", "level", "reason"), [(64, None, "64 x 64 pixels"), (128, 0, "a mark of z 0.0"), (16, None, "16 x 16")]
)
def test_pictures_that_cannot_be_marked_are_rejected(size: int, level: int | None, reason: str, tmp_path: Path) -> None:
    """Small and flat ones: without a reason, they would look like marked ones."""

    def draw(key: str, shape: tuple[int, int]) -> np.ndarray:
        rng = np.random.default_rng(len(key))
        return rng.integers(0, 1 if level == 0 else 255, (*shape, 3), np.uint8)

    fake_build(tmp_path / "build", [written(0)], draw=draw, conditions={"size": size})
    task = Export(str(tmp_path / "build"), str(tmp_path / "out"), "coco", marker=Marker(key_file(tmp_path)))
    outcome = export(task, workers=1)
    assert (outcome.written, len(outcome.rejected)) == (0, 2)
    for rejection in outcome.rejected:
        assert rejection.key.startswith("jaw-000")
        assert reason in rejection.reason


def test_splits_without_a_place_are_rejected_before_they_are_marked(tmp_path: Path) -> None:
    def draw(_: str, shape: tuple[int, int]) -> np.ndarray:
        return np.zeros((*shape, 3), np.uint8)  # which cannot be marked

    fake_build(tmp_path / "build", [written(0, split="fold_7")], draw=draw, conditions={"size": 128})
    task = Export(str(tmp_path / "build"), str(tmp_path / "out"), "nnunet", marker=Marker(key_file(tmp_path)))
    outcome = export(task, workers=1)
    assert [("fold_7" in rejection.reason) for rejection in outcome.rejected] == [True, True]
