"""Training of candidates: one bundle for each seed, found again when done, continued after an interruption."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dentgen.errors import SpecError
from dentgen.evaluation.tables.candidates import Training
from dentgen.evaluation.tables.training import TrainedBundle, TrainingSettings, source_digest, trained_bundle
from dentgen.models.bundle import bundle_digest, find_bundle
from dentgen.spec.build import BuildSpec
from dentgen.training.journal import Journal
from tests.conftest import JAWS
from tests.evaluation.small_evaluation import small_build_spec
from tests.training.test_loop import interrupting

SPEC = small_build_spec("conditions.size=128")
PART = {"recipe": "adapter", "name": "own", "rank": 2, "loss": {"tooth": 5}}
TRAINING = Training("tooth <5>", (PART,))


def trained(
    work: Path, seed: int = 0, steps: int = 3, training: Training = TRAINING, spec: BuildSpec = SPEC
) -> TrainedBundle:
    """A training of a few steps of two rows."""
    return trained_bundle(
        str(work), spec, training, seed, TrainingSettings(str(JAWS), source_digest(str(JAWS)), steps, 2)
    )


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


@pytest.mark.integration
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
        trained_bundle("s3://bucket/work", SPEC, TRAINING, 0, TrainingSettings(str(JAWS), "digest"))
    assert (caught.value.key, caught.value.found) == ("--work", "s3://bucket/work")


def started(work: Path, spec: BuildSpec) -> str:
    """Name of the folder of a training that is stopped at its first step."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Journal, "advance", interrupting(1, Journal.advance))
        with pytest.raises(KeyboardInterrupt):
            trained(work, spec=spec)
    (folder,) = (work / "bundles").iterdir()
    return folder.name


@pytest.mark.integration
def test_every_copied_file_decides_the_folder_and_no_part_of_a_trained_kind(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(find_bundle("miniature"), bundle)
    spec = small_build_spec("conditions.size=128", f"model.bundle={bundle}")
    first = started(tmp_path / "first", spec)
    (bundle / "adapters" / "blended" / "adapter_config.json").unlink()
    assert started(tmp_path / "adapters", spec) == first, "no adapter is copied"
    for part in ("loras", "tiny_decoder", "embeddings"):
        (bundle / part).mkdir(exist_ok=True)
        (bundle / part / "added.txt").write_text(part)
        changed = started(tmp_path / part, spec)
        assert changed != first, part
        assert (tmp_path / part / "bundles" / changed / part / "added.txt").read_text() == part
        (bundle / part / "added.txt").unlink()


@pytest.mark.integration
def test_a_training_in_progress_is_not_joined_by_another_process(tmp_path: Path) -> None:
    started(tmp_path, SPEC)
    (folder,) = (tmp_path / "trainings").iterdir()
    code = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); input()"
    words = [sys.executable, "-c", code, str(folder / "lock")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(SpecError) as caught:
            trained(tmp_path)
        other.kill()
    assert (caught.value.file, caught.value.key) == (str(folder), "--work")
    assert caught.value.found == "a training of another process"
    assert started(tmp_path, SPEC) == folder.name, "the lock of a killed process is gone"


def test_the_digest_of_a_source_is_that_of_its_shards(tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(JAWS, tmp_path / name)
    assert source_digest(str(tmp_path / "a")) == source_digest(str(tmp_path / "b")), "wherever they lie"
    shard = next(path for path in sorted((tmp_path / "b").rglob("*")) if path.suffix == ".tar")
    shard.write_bytes(shard.read_bytes() + bytes(10240))
    assert source_digest(str(tmp_path / "a")) != source_digest(str(tmp_path / "b"))
