"""Labels mean what a file says, and a draft of it guesses well."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.conditions.label_schemes import convert
from dentgen.conditions.labels import IGNORE
from dentgen.conditions.lesion_map import LESIONS
from dentgen.errors import SpecError
from dentgen.ingest.photos.meaning import Meanings, class_of, draft, is_meaning, lesion_of, read_meanings, tooth_number


def drafted(tmp_path: Path, counts: dict[str, int]) -> dict[str, str]:
    file = tmp_path / "meanings.yaml"
    file.write_text(draft(counts))
    return read_meanings(str(file)).labels


def test_meanings_are_classes_findings_and_teeth() -> None:
    assert (class_of("tooth"), class_of("gingiva"), class_of("caries"), class_of("gold crown")) == (2, 1, 2, 4)
    assert (lesion_of("caries"), lesion_of("gold crown"), lesion_of("tooth")) == (2, 9, None)
    classes = {name: class_of(name) for value, name in LESIONS.items() if value not in {0, IGNORE}}
    tissues = {name: {1: "gingiva", 2: "tooth", 4: "restoration"}[value] for name, value in classes.items()}
    assert {name for name, tissue in tissues.items() if tissue == "gingiva"} == {"inflamed gum"}
    assert {name for name, tissue in tissues.items() if tissue == "tooth"} == {
        "white spot", "caries", "cavity", "fracture", "calculus", "plaque",
    }  # fmt: skip
    assert (tooth_number("tooth 36"), tooth_number("tooth 19"), tooth_number("tooth")) == (36, None, None)
    assert is_meaning("skip")
    assert not is_meaning("tooth 99")


def test_a_wrong_meaning_is_named_with_its_label(tmp_path: Path) -> None:
    file = tmp_path / "meanings.yaml"
    file.write_text("labels: {Zahn: zahn}\n")
    with pytest.raises(SpecError) as caught:
        read_meanings(str(file))
    assert caught.value.file == str(file)
    assert "Zahn" in str(caught.value)
    assert "'zahn'" in str(caught.value)


@pytest.mark.parametrize(
    ("label", "meaning"),
    [
        ("Caries", "caries"), ("dental decay", "caries"), ("Cavity", "cavity"), ("Crack", "fracture"),
        ("Gums", "gingiva"), ("first molar", "tooth"), ("bracket", "appliance"), ("UR6", "tooth 16"),
        ("ll-3", "tooth 33"), ("UL B", "tooth 62"), ("ULB", "tooth 62"), ("tooth_36", "tooth 36"), ("xyzzy", "skip"),
        ("lip", "lip or skin"), ("amalgam", "amalgam filling"), ("White spot", "white spot"),
    ],
)  # fmt: skip
def test_drafts_guess_from_words(label: str, meaning: str, tmp_path: Path) -> None:
    assert drafted(tmp_path, {label: 3}) == {label: meaning}


def test_universal_numbers_are_told_from_fdi(tmp_path: Path) -> None:
    """Oracle: the conversion of label maps."""
    universal = drafted(tmp_path, {str(number): 1 for number in range(1, 33)})
    import numpy as np

    numbers = np.arange(1, 33, dtype=np.uint8)[None]
    expected = convert(numbers, "classes33", "fdi").labels[0]
    assert [universal[str(number)] for number in range(1, 33)] == [f"tooth {number}" for number in expected]
    assert drafted(tmp_path, {"11": 1, "36": 1}) == {"11": "tooth 11", "36": "tooth 36"}
    assert drafted(tmp_path, {"2": 1, "1": 1}) == {"2": "skip", "1": "skip"}, "classes, not teeth"


def test_hostile_labels_survive_a_draft(tmp_path: Path) -> None:
    labels = {'a": !!python/object:os.system x': 1, "line\nbreak": 2, "tab\t# x": 3, "日本": 4, "\\": 5}
    assert drafted(tmp_path, labels) == dict.fromkeys(labels, "skip")


def test_groups_are_found_by_their_pattern() -> None:
    meanings = Meanings(labels={}, group=r"patient_(\d+)")
    assert meanings.group_of("a/patient_12_left") == "12"
    assert meanings.group_of("other") == "other"
    assert Meanings(labels={}).group_of("x") == "x"
    with pytest.raises(ValueError, match="regular expression"):
        Meanings(labels={}, group="(")
