"""Parquet opens in ``datasets`` with pictures, and CSV names every file."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from datasets import load_dataset
from PIL import Image

from tests.export.hard_sets import SPLITS, exported, photo_of


def test_parquet_opens_with_pictures_and_splits(tmp_path: Path) -> None:
    out, maps, _ = exported(tmp_path, "parquet")
    dataset = load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert {split: part.num_rows for split, part in dataset.items()} == {"train": 3, "validation": 1, "test": 1}
    for split, part in dataset.items():
        for row in part:
            each, number = maps[row["key"]], int(row["key"][-1])
            assert SPLITS[number] == split == row["split"]
            assert (np.asarray(row["image"]) == photo_of(number)).all()
            assert (np.asarray(row["seg"]) == each["seg"]).all()
            assert (np.asarray(row["fdi"]) == each["fdi"]).all()
            assert (np.asarray(row["lesion"]) == each["lesion"]).all()
            assert row["teeth"] == [number for number in np.unique(each["fdi"]).tolist() if number]
            assert (row["view"], row["license"], row["synthetic"]) == ("left", "CC0-1.0", True)


def test_csv_names_every_file_and_counts_its_pixels(tmp_path: Path) -> None:
    out, maps, _ = exported(tmp_path, "csv")
    rows = list(csv.DictReader((out / "samples.csv").open()))
    assert [row["key"] for row in rows] == list(maps)
    for row in rows:
        each = maps[row["key"]]
        assert (np.asarray(Image.open(out / row["mask"])) == each["seg"]).all()
        assert (np.asarray(Image.open(out / row["teeth_map"])) == each["fdi"]).all()
        assert (np.asarray(Image.open(out / row["lesion_map"])) == each["lesion"]).all()
        assert (out / row["image"]).is_file()
        assert float(row["share of tooth"]) == round(float((each["seg"] == 2).mean()), 6)
        assert row["prompt"] == "teeth, = 1"


def test_text_is_no_formula_in_a_spreadsheet(tmp_path: Path) -> None:
    from dentgen.export.tables import _plain

    for text in ("=1+1", "@x", "\nx", "\uff1d1"):
        assert _plain(text) == f"'{text}"
    assert (_plain("a=b"), _plain(3)) == ("a=b", 3)
