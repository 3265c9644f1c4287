"""Training of candidates: one bundle for each seed, found again when done, continued after an interruption."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from dentgen.errors import SpecError
from dentgen.evaluation.tables.candidates import Training
from dentgen.evaluation.tables.training import TrainedBundle, TrainingSettings, trained_bundle
from dentgen.models.bundle import bundle_digest, find_bundle
from dentgen.training.journal import Journal
from tests.conftest import DEMO
from tests.evaluation.small_evaluation import small_build_spec
from tests.training.test_loop import interrupting

SPEC = small_build_spec("conditions.size=128")
PART = {"recipe": "adapter", "name": "own", "rank": 2, "loss": {"tooth": 5}}
TRAINING = Training("tooth <5>", (PART,))


def trained(work: Path, seed: int = 0, steps: int = 3, training: Training = TRAINING) -> TrainedBundle:
    """A training of a few steps of two rows."""
    return trained_bundle(str(work), SPEC, training, seed, TrainingSettings(str(DEMO), steps, 2))


def weights(bundle: TrainedBundle) -> bytes:
    """The trained weights."""
    return (Path(bundle.bundle) / "adapters" / "own" / "adapter_model.safetensors").read_bytes()


@pytest.mark.slow
def test_an_interrupted_training_continues_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = trained(tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "advance", interrupting(2, Journal.advance))
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "broken")
    with caplog.at_level(logging.INFO):
        resumed = trained(tmp_path / "broken")
    assert "resuming at step 2" in caplog.text
    assert weights(resumed) == weights(whole)
    assert Path(resumed.bundle).name == Path(whole.bundle).name


@pytest.mark.slow
def test_what_is_done_is_found_and_what_differs_is_trained(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    embedded = bundle_digest("miniature", ["blended"])
    first = trained(tmp_path)
    written = (Path(first.bundle) / "adapters" / "own" / "adapter_model.safetensors").stat().st_mtime_ns
    with caplog.at_level(logging.INFO):
        again = trained(tmp_path)
    assert again == first
    assert caplog.text == "", "nothing was trained"
    assert (Path(first.bundle) / "adapters" / "own" / "adapter_model.safetensors").stat().st_mtime_ns == written
    assert (first.size, first.steps) == (len(weights(first)), 3)
    assert first.parameters == pytest.approx((first.size - 20_000) / 2, rel=0.2), "two bytes each, beside the header"
    others = [trained(tmp_path, seed=1), trained(tmp_path, steps=2)]
    assert len({weights(each) for each in (first, *others)}) == 3
    assert len(list((tmp_path / "bundles").iterdir())) == 3
    assert sorted(path.name for path in (Path(first.bundle) / "adapters").iterdir()) == ["own"]
    assert bundle_digest("miniature", ["blended"]) == embedded, "the embedded bundle is as it was"


def test_names_become_folders_of_their_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "advance", interrupting(1, Journal.advance))
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, training=Training("../<b>", (PART,)))
    assert {path.name for path in tmp_path.iterdir()} == {"bundles", "trainings"}
    (folder,) = (tmp_path / "bundles").iterdir()
    assert folder.name.startswith("b-0-")
    assert {path.name for path in folder.iterdir()} >= {path.name for path in find_bundle("miniature").iterdir()} - {
        "adapters", "controlnets",
    }  # fmt: skip


def test_a_training_needs_a_local_folder() -> None:
    with pytest.raises(SpecError) as caught:
        trained_bundle("s3://bucket/work", SPEC, TRAINING, 0, TrainingSettings(str(DEMO)))
    assert (caught.value.key, caught.value.found) == ("--work", "s3://bucket/work")
