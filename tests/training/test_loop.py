"""Training: a broken-off run that resumes gives the weights of one that was not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import CLIPTextModel, CLIPTokenizer

from dentgen.conditions.labels import mirror_prompt
from dentgen.errors import SpecError
from dentgen.models.bundle import find_bundle, load_bundle
from dentgen.pipeline.phantoms import PhantomSet, write_phantoms
from dentgen.seeding import numpy_generator
from dentgen.training.data import drop_words, load_training_set
from dentgen.training.miniature import extended_text_encoder, new_tokenizer
from dentgen.training.run import run_training
from dentgen.training.spec import TrainSpec, read_train_spec
from tests.conftest import DEMO, ROOT


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = str(tmp_path_factory.mktemp("phantoms"))
    write_phantoms(place, PhantomSet(5, 4, 64, 5), workers=1)
    return place


def spec(phantoms: str, folder: Path, recipe: str, steps: int = 4) -> TrainSpec:
    return TrainSpec.model_validate(
        {
            "recipe": recipe, "data": phantoms, "split": "", "bundle": str(folder / "bundle"), "size": 64,
            "checkpoints": str(folder / recipe), "steps": steps, "batch": 2, "warmup": 1, "tooth_weight": 5.0,
            "rank": 4,
        }
    )  # fmt: skip


class _PowerCutError(Exception):
    pass


@pytest.mark.slow
def test_every_recipe_runs_resumes_and_gives_a_loadable_bundle(
    phantoms: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    for recipe in ("autoencoder", "base", "adapter"):
        run_training(spec(phantoms, straight, recipe))
        log = torch.nn.utils.clip_grad_norm_
        calls: list[int] = []

        def cut(*args: object, log: object = log, calls: list[int] = calls) -> object:
            calls.append(1)
            if len(calls) == 3:
                raise _PowerCutError
            return log(*args)  # type: ignore[operator]

        with monkeypatch.context() as patch:
            patch.setattr(torch.nn.utils, "clip_grad_norm_", cut)
            every_step = spec(phantoms, broken, recipe).model_copy(update={"checkpoint_seconds": 0.0})
            with pytest.raises(_PowerCutError):
                run_training(every_step)
        run_training(spec(phantoms, broken, recipe))
    one, other = (load_bundle(str(folder / "bundle"), {"blended": 1.0}) for folder in (straight, broken))
    for name in ("vae", "unet", "text_encoder", "control"):
        a, b = getattr(one, name).state_dict(), getattr(other, name).state_dict()
        assert all(torch.equal(a[key], b[key]) for key in a), name


def test_the_vocabulary_is_the_same_in_every_run() -> None:
    tokenizer = new_tokenizer()
    assert tokenizer.get_vocab() == new_tokenizer().get_vocab()
    text = "a photo of both teeth, left view, inflamed gums, never seen: zyx 42"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True).replace(" ", "") == text.replace(
        " ", ""
    )
    assert len(tokenizer("teeth").input_ids) == 3, "a word of the corpus is one token between start and end"


def test_a_vocabulary_that_goes_on_keeps_its_tokens() -> None:
    """Old words mean what they meant, bit for bit; new ones begin as the mean of what spelt them."""
    bundle = find_bundle("miniature")
    before = CLIPTokenizer.from_pretrained(bundle / "tokenizer")
    start = CLIPTextModel.from_pretrained(bundle / "text_encoder", dtype=torch.float32)
    tokenizer = new_tokenizer(before)
    model = extended_text_encoder(start, tokenizer, before)
    assert before.get_vocab().items() <= tokenizer.get_vocab().items()
    old = "a photo of both teeth, left view, intraoral dental photography, white teeth, pink gums, ring flash"
    ids = tokenizer(old, padding="max_length", return_tensors="pt").input_ids
    assert torch.equal(ids, before(old, padding="max_length", return_tensors="pt").input_ids)
    assert torch.equal(model(ids)[0], start(ids)[0])
    assert len(tokenizer("zyx").input_ids) == len(before("zyx").input_ids)
    weight = model.get_input_embeddings().weight
    for word in ("braces", "amalgam"):
        (number,) = tokenizer(word, add_special_tokens=False).input_ids
        pieces = before(word, add_special_tokens=False).input_ids
        assert torch.allclose(weight[number], start.get_input_embeddings().weight[pieces].mean(0))


def test_training_records_have_mirrored_twins() -> None:
    data = load_training_set(str(DEMO), "", 128)
    assert len(data) == 40
    assert (data.photos[0] == data.photos[1][:, ::-1]).all()
    assert (data.seg[2] == data.seg[3][:, ::-1]).all()
    lefts = [i for i, prompt in enumerate(data.prompts) if i % 2 == 0 and "left view" in prompt]
    assert lefts
    assert all("right view" in data.prompts[i + 1] for i in lefts)


def test_prompts_lose_words_but_keep_the_view() -> None:
    prompt = "a photo of both teeth, left view, intraoral dental photography, white teeth, pink gums, ring flash"
    assert mirror_prompt(mirror_prompt(prompt)) == prompt
    rng = numpy_generator("words")
    dropped = [drop_words(prompt, rng) for _ in range(50)]
    assert all(text.startswith("a photo of both teeth, left view") for text in dropped)
    assert len(set(dropped)) > 4


def test_the_specs_that_ship_are_valid() -> None:
    for path in sorted((ROOT / "jobs" / "specs").glob("train-*.yaml")):
        assert read_train_spec(path).steps > 0
    with pytest.raises(SpecError, match="steps"):
        read_train_spec(ROOT / "jobs" / "specs" / "train-base.yaml", ("steps=0",))
