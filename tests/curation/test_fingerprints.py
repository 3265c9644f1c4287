"""Prints that a build keeps are read, others computed; damaged ones are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dentgen.curation import fingerprints as module
from dentgen.curation.fingerprints import build_fingerprints, picture_fingerprints, print_words
from dentgen.curation.pictures import Picture, read_pictures
from dentgen.errors import StorageError
from dentgen.quality.labelled_pictures import fingerprint
from tests.curation.planted_builds import PRINTS, gated, smooth
from tests.report.fake_builds import fake_build, written


def bits_of(words: np.ndarray) -> np.ndarray:
    return np.unpackbits(words.astype(">u8").view(np.uint8).reshape(len(words), -1), axis=1)


def test_prints_that_a_build_keeps_are_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_build(tmp_path, [gated(0, PRINTS[0], PRINTS[1]), gated(1, PRINTS[2], PRINTS[3])])
    monkeypatch.setattr(module, "fingerprint", None)
    prints = build_fingerprints(str(tmp_path))
    assert prints.keys == ("jaw-000-v000", "jaw-000-v001", "jaw-001-v000", "jaw-001-v001")
    assert ["".join(f"{word:016x}" for word in row) for row in prints.words.tolist()] == PRINTS[:4]
    assert len(set(prints.families.tolist())) == 4


def test_counterfactuals_are_a_family_with_their_reference(tmp_path: Path) -> None:
    sets = [gated(n, *PRINTS[:2], reference=f"jaw-00{n}-v000") for n in range(2)]
    fake_build(tmp_path, sets)
    families = build_fingerprints(str(tmp_path)).families.tolist()
    assert families == [0, 0, 1, 1]


def test_prints_that_are_missing_are_computed_from_the_pictures(tmp_path: Path) -> None:
    fake_build(tmp_path, [written(0), gated(1, PRINTS[0], PRINTS[1])], draw=smooth)
    prints = build_fingerprints(str(tmp_path))
    pictures = {picture.key: picture.pixels for picture in read_pictures(str(tmp_path))}
    for key, row in zip(prints.keys[:2], bits_of(prints.words)[:2], strict=True):
        np.testing.assert_array_equal(row, fingerprint(pictures[key]))
    assert "".join(f"{word:016x}" for word in prints.words[3].tolist()) == PRINTS[1]


def test_pictures_are_families_of_their_own() -> None:
    pixels = np.asarray(smooth("a", (32, 32)))
    prints = picture_fingerprints(Picture(key, "", pixels) for key in "ab")
    assert (prints.keys, prints.families.tolist()) == (("a", "b"), [0, 1])
    assert (prints.words[0] == prints.words[1]).all()


@pytest.mark.parametrize("damaged", ["12", "x" * 64, "A" * 64])
def test_a_damaged_print_is_named(damaged: str) -> None:
    with pytest.raises(StorageError) as caught:
        print_words([PRINTS[0], damaged], "out/table")
    assert (caught.value.file, caught.value.key, caught.value.found) == ("out/table", "fingerprint", damaged)
