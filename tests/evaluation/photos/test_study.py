"""The study: which arms there are, what they learn from, and what is reported."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dentgen.errors import SpecError
from dentgen.evaluation.photos import study as module
from dentgen.evaluation.photos.labelled_images import LabelledImages
from dentgen.evaluation.photos.network import PhotoNetwork
from dentgen.evaluation.photos.study import Arm, PhotoStudy, measure_photos, parse_counts, study_figures, study_table
from dentgen.evaluation.photos.training import TrainingSettings, train_network
from dentgen.phantom.render import render_patient
from dentgen.phantom.shards import phantom_members
from tests.conftest import write_tar
from tests.evaluation.photos.photographs import write_photo


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> PhotoStudy:
    folder = tmp_path_factory.mktemp("study")
    for number in range(3):
        write_photo(folder / "train", f"p{number}", seed=number)
        write_photo(folder / "test", f"q{number}", seed=number + 10)
    phantoms = render_patient(5, 2, 32, ("frontal",))
    write_tar(folder / "synthetic" / "x.tar", {phantom.key: phantom_members(phantom) for phantom in phantoms})
    train, test, synthetic = (str(folder / name) for name in ("train", "test", "synthetic"))
    settings = TrainingSettings(steps=1, batch=2)
    return PhotoStudy(train, test, synthetic, (1, None), size=32, seeds=(0, 1), training=settings)


@pytest.mark.integration
def test_arms_and_their_images(places: PhotoStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[tuple[str, ...]]] = {}
    train = train_network

    def watched(sets: list[LabelledImages], settings: TrainingSettings, seed: int, name: str) -> PhotoNetwork:
        seen[name] = [images.keys for images in sets]
        return train(sets, settings, seed, name)

    monkeypatch.setattr(module, "train_network", watched)
    arms = measure_photos(places)
    assert [arm.name for arm in arms] == ["synthetic", "real 1", "both 1", "real 3", "both 3"]
    assert [arm.real for arm in arms] == [0, 1, 1, 3, 3]
    assert seen["synthetic, seed 0"] == [("s5-p000002-frontal",)]
    assert seen["both 1, seed 0"] == [*seen["real 1, seed 0"], ("s5-p000002-frontal",)]
    assert set(seen["real 1, seed 0"][0]) < set(seen["real 3, seed 0"][0]) == {"p0.png", "p1.png", "p2.png"}
    assert len(study_table(arms)) == 2 + len(arms)
    figures = study_figures(arms)
    names = [f"iou_{name}{end}" for name in ("synthetic", "real_1", "both_3") for end in ("", "_sd")]
    assert set(names) <= set(figures)
    assert figures["iou_real_1"] == pytest.approx(arms[1].figures()["iou"])


def test_what_is_not_annotated_has_no_figure(places: PhotoStudy) -> None:
    arm = Arm("synthetic", 0, ({"iou": 1.0, "instance_f1": 0.5},))
    learnt = Arm("real 3", 3, ({"iou": 1.0, "instance_f1": 0.5, "lesion_iou": 0.25},))
    assert study_figures([arm]) == {"iou_synthetic": 1.0, "instance_f1_synthetic": 0.5}
    assert study_table([arm, learnt]) == [
        "| learnt from | tooth IoU | single teeth F1 | lesion IoU |",
        "|---|---|---|---|",
        "| synthetic | 1.000 | 0.500 | not learnt |",
        "| real 3 | 1.000 | 0.500 | 0.250 |",
    ]


@pytest.mark.integration
def test_numbers_are_told_only_by_what_has_learnt_them(places: PhotoStudy) -> None:
    numbered = replace(places, numbered=places.synthetic, counts=(1,), seeds=(0,))
    synthetic, real, both = measure_photos(numbered)
    for arm, learnt in ((synthetic, True), (real, False), (both, True)):
        assert ("number_accuracy" in arm.figures()) == learnt, arm.name
        assert "lesion_ap" in arm.figures() or arm.name == "synthetic", "the standard views have no lesion map"


def test_counts_are_read() -> None:
    assert parse_counts("10, 50,all") == (10, 50, None)
    for text in ("", "0", "ten", "-1", "10,,20"):
        with pytest.raises(SpecError) as caught:
            parse_counts(text)
        assert caught.value.found == text


def test_photographs_may_not_be_learnt_and_scored(places: PhotoStudy) -> None:
    with pytest.raises(SpecError) as caught:
        measure_photos(replace(places, test=places.train))
    assert (caught.value.key, caught.value.file) == ("test", places.train)


def test_too_few_photographs_and_odd_sizes_are_refused(places: PhotoStudy) -> None:
    with pytest.raises(SpecError) as few:
        measure_photos(replace(places, counts=(4,)))
    assert (few.value.key, few.value.found, few.value.file) == ("--real", "3 photographs", places.train)
    with pytest.raises(SpecError) as odd:
        measure_photos(replace(places, size=100))
    assert (odd.value.key, odd.value.found) == ("size", 100)
