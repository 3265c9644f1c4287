"""Images of real, tiny builds: in the order of the records, cached, with a word of the prompts replaced."""

from __future__ import annotations

import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dentgen.errors import BuildError
from dentgen.evaluation.generated_images import (
    finished_build,
    generated_images,
    model_digest,
    read_images,
    reworded_images,
)
from dentgen.evaluation.reference_set import ReferenceSet
from dentgen.models.bundle import find_bundle
from tests.evaluation.small_evaluation import SIZE, build_names, demo_reference, small_build_spec

Everything = tuple[Path, ReferenceSet, NDArray[np.uint8]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, demo_members: dict[str, dict[str, bytes]]) -> Everything:
    """Two variants of three records of the demo."""
    work = tmp_path_factory.mktemp("images")
    reference = demo_reference(work / "demo", demo_members, 3)
    return work, reference, generated_images(str(work), small_build_spec(), reference, variants=2)


@pytest.mark.integration
def test_every_record_gets_its_own_images(built: Everything) -> None:
    """A build of the first records gives the images that stand at their place among all."""
    work, reference, images = built
    assert images.shape == (3, 2, SIZE, SIZE, 3)
    assert np.array_equal(generated_images(str(work), small_build_spec(), reference, variants=2, limit=2), images[:2])
    assert len(np.unique(images.reshape(6, -1), axis=0)) == 6
    turned = replace(reference, keys=reference.keys[::-1])
    assert np.array_equal(generated_images(str(work), small_build_spec(), turned, variants=2), images[::-1])


def test_a_finished_build_is_not_built_again(built: Everything) -> None:
    work, reference, _ = built
    out = Path(finished_build(str(work), small_build_spec(), reference.source, variants=2))
    (out / "left-by-the-first-build").touch()
    before = build_names(work)
    assert finished_build(str(work), small_build_spec(), reference.source, variants=2) == str(out)
    assert (out / "left-by-the-first-build").exists()
    assert build_names(work) == before


def test_a_missing_image_names_the_build_and_the_sample(built: Everything) -> None:
    work, reference, _ = built
    lacking = replace(reference, keys=["no-such-record"])
    with pytest.raises(BuildError) as caught:
        generated_images(str(work), small_build_spec(), lacking, variants=2)
    assert caught.value.key == "no-such-record-v000"
    assert Path(caught.value.file).parent == work / "builds"


def test_only_the_images_that_are_asked_for_are_decoded(built: Everything, monkeypatch: pytest.MonkeyPatch) -> None:
    work, reference, images = built
    out = finished_build(str(work), small_build_spec(), reference.source, variants=2)
    decoded: list[BinaryIO] = []
    decode = Image.open

    def counted(file: BinaryIO) -> Image.Image:
        decoded.append(file)
        return decode(file)

    monkeypatch.setattr(Image, "open", counted)
    assert np.array_equal(read_images(out, [reference.keys[1]], 2), images[1:2])
    assert len(decoded) == 2


@pytest.mark.integration
def test_a_word_is_replaced_in_prompts_and_nowhere_else(built: Everything) -> None:
    work, reference, images = built
    spec = small_build_spec()
    same = reworded_images(str(work), spec, reference, "nothing", "no such word", "x", 2)
    assert np.abs(same.astype(int) - images[:2, 0]).max() <= 1, "the same prompt and noise give the same image"
    other = reworded_images(str(work), spec, reference, "gums", r"\w+ gums", "dark gums", 2)
    assert np.abs(other.astype(int) - same).max() > 10
    for record, changed in zip(
        *map(prompts_of, (Path(reference.source), next(work.glob("words/*-gums")))), strict=False
    ):
        assert changed == {**record, "prompt": changed["prompt"]}
        assert " dark gums" in changed["prompt"]


def prompts_of(folder: Path) -> list[dict[str, object]]:
    """Metadata of every record, in order."""
    (shard,) = folder.glob("*.tar")
    with tarfile.open(shard) as archive:
        files = [archive.extractfile(name) for name in archive.getnames() if name.endswith(".json")]
        return [json.loads(file.read()) for file in files if file is not None]


def test_the_digest_follows_spec_and_weights(tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(find_bundle("miniature"), tmp_path / "bundle"))
    spec = small_build_spec(f"model.bundle={bundle}")
    first = model_digest(spec)
    assert model_digest(small_build_spec(f"model.bundle={bundle}", "sampling.seed=1")) != first
    weights = bundle / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert model_digest(spec) != first
