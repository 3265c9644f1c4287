"""Class pictures: named by the seed, drawn by the frozen bundle, kept in files that a later run reads."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UniPCMultistepScheduler
from safetensors.torch import load_file, save_file
from torch import distributed

from dentgen.errors import SpecError
from dentgen.models.bundle import load_bundle
from dentgen.models.text import PromptEncoder
from dentgen.seeding import derive_seed
from dentgen.training.class_pictures import ClassPictures
from dentgen.training.miniature import SCHEDULER_CONFIG
from tests.training.runs import CPU, linked_bundle, train_spec

SIZE = 8


@pytest.fixture
def folder(family: Path, tmp_path: Path) -> Path:
    return linked_bundle(family, tmp_path / "own")


def pictures_of(folder: Path, **values: Any) -> ClassPictures:
    return ClassPictures(train_spec("nowhere", folder, "dreambooth", **values), SIZE, CPU)


def made(folder: Path, **values: Any) -> torch.Tensor:
    pictures = pictures_of(folder, **values)
    pictures.make()
    return pictures.latents(list(range(pictures._spec.class_pictures)))


def files_of(folder: Path) -> list[Path]:
    return sorted((folder / "dreambooth" / "class_pictures").rglob("*.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_class_picture_is_what_diffusers_scheduler_samples(folder: Path, guidance: float) -> None:
    """By hand from the bundle as a build loads it: the class prompt, the named noise, UniPC, guidance."""
    bundle = load_bundle(str(folder / "bundle"))
    text = PromptEncoder(bundle.tokenizer, bundle.text_encoder)
    scheduler = UniPCMultistepScheduler.from_config(SCHEDULER_CONFIG)
    scheduler.set_timesteps(2)
    noise = torch.Generator().manual_seed(derive_seed(0, "dreambooth", "class picture", 1))
    latents = torch.randn((1, 4, SIZE, SIZE), generator=noise)
    for step in scheduler.timesteps:
        found, empty = (bundle.unet(latents, step, text.embed(prompt)[None]).sample for prompt in ("teeth", ""))
        latents = scheduler.step(empty + guidance * (found - empty), step, latents).prev_sample
    torch.testing.assert_close(made(folder, class_guidance=guidance)[1], latents[0], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_pictures_depend_on_seed_and_number_alone(folder: Path) -> None:
    """Nine or ten of them, all anew or only the second file."""
    ten = made(folder)
    assert len({picture.numpy().tobytes() for picture in ten}) == 10
    files_of(folder)[1].unlink()
    first = files_of(folder)[0].stat().st_mtime_ns
    assert torch.equal(made(folder), ten)
    assert files_of(folder)[0].stat().st_mtime_ns == first, "what is there is not drawn again"
    shutil.rmtree(folder / "dreambooth")
    assert torch.equal(made(folder, class_pictures=9), ten[:9])
    assert not torch.equal(made(folder, seed=1), ten)


@pytest.mark.slow
def test_workers_draw_a_share_each_and_read_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In two threads that wait for each other as processes do."""
    monkeypatch.setattr(distributed, "barrier", threading.Barrier(2, timeout=600).wait)
    workers = [pictures_of(folder, class_pictures=20) for _ in range(2)]
    drawn: list[list[int]] = []
    draw_files = ClassPictures._draw_files

    def noted(own: ClassPictures, missing: dict[str, int]) -> None:
        drawn.append([*missing.values()])
        draw_files(own, missing)

    monkeypatch.setattr(ClassPictures, "_draw_files", noted)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda rank: workers[rank].make(rank, 2), range(2)))
    assert sorted(drawn) == [[0, 16], [8]]
    first, second = (worker.latents([*range(20)]) for worker in workers)
    assert torch.equal(first, second)
    shutil.rmtree(folder / "dreambooth")
    assert torch.equal(made(folder, class_pictures=20), first)


@pytest.mark.slow
def test_what_decides_them_names_their_folder(folder: Path) -> None:
    made(folder)
    for values in ({"class_prompt": "gums"}, {"class_steps": 1}, {"class_guidance": 2.0}, {"seed": 1}):
        before = len(files_of(folder))
        made(folder, **values)
        assert len(files_of(folder)) == before + 2, values
    made(folder, class_pictures=20)
    assert len(files_of(folder)) == 11, "more pictures add to those that are there"


@pytest.mark.parametrize(("content", "found"), [(b"no tensors", None), (None, "latents of shape [3, 4, 8, 8]")])
def test_a_damaged_file_is_named(folder: Path, content: bytes | None, found: str | None) -> None:
    pictures = pictures_of(folder)
    file = folder / "dreambooth" / "class_pictures" / pictures._identity() / "000000.safetensors"
    file.parent.mkdir(parents=True)
    if content is None:
        save_file({"latents": torch.zeros(3, 4, SIZE, SIZE)}, file)
    else:
        file.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        pictures.make()
    assert caught.value.file == str(file)
    assert caught.value.found == (found or caught.value.found)


@pytest.mark.slow
def test_files_hold_latents_alone(folder: Path) -> None:
    made(folder)
    assert [list(load_file(file)) for file in files_of(folder)] == [["latents"]] * 2
