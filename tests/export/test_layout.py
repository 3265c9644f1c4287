"""Names that all layouts share."""

from __future__ import annotations

from dentgen.export.layout import Loss, flat_name, splits_of


def test_a_key_with_folders_becomes_one_name() -> None:
    assert flat_name("clinic/jaw-1") == "clinic__jaw-1"
    assert flat_name("jaw") == "jaw"


def test_train_is_the_first_split() -> None:
    entries = [{"split": name} for name in ("test", "train", "validation", "test")]
    assert splits_of(lambda: iter(entries)) == ["train", "test", "validation"]


def test_losses_are_plain_values() -> None:
    expected = {"holes": 1, "split": 2, "ignored": 3, "unnumbered": 4, "ious": [0.1235]}
    assert Loss(1, 2, 3, 4, [0.123456]).values == expected
