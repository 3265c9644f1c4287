"""Recipe ``textual-inversion``: only the word's vectors are trained, and builds and diffusers read them alike."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from dentgen.errors import BundleError, SpecError
from dentgen.models.bundle import find_bundle, load_bundle
from dentgen.models.parts import load_text_encoder, load_tokenizer
from dentgen.models.text import PromptEncoder
from dentgen.training.recipes.textual_inversion import TextualInversionRecipe, start_vectors
from dentgen.training.run import run_training
from tests.training.runs import CPU, copied_bundle, killed_and_whole, losses_of, train_spec, training_data, weights_of

#: All of them need pictures or trainings that take seconds.
pytestmark = pytest.mark.integration

PROMPT = "a photo of <look> teeth, <look>"


def recipe_of(phantoms: str, folder: Path, **values: Any) -> TextualInversionRecipe:
    return TextualInversionRecipe(train_spec(phantoms, folder, "textual-inversion", **values), CPU)


def test_the_words_vectors_are_all_that_is_trained(phantoms: str, family: Path) -> None:
    """A step moves them, and no bit of text encoder, token table or UNet."""
    recipe = recipe_of(phantoms, family, vectors=3)
    frozen = {**recipe._text.net.state_dict(), **{f"unet.{n}": v for n, v in recipe._unet.net.state_dict().items()}}
    table = recipe._text.net.get_input_embeddings()._table.net.weight
    before = {name: value.clone() for name, value in frozen.items() if not name.endswith("_vectors")}
    rows, vectors = table.clone(), recipe.vectors.detach().clone()
    assert [name for name, _ in recipe.named_parameters()] == ["vectors"]
    recipe(training_data(recipe._spec).batch(0, 0, 2))["loss"].backward()
    torch.optim.AdamW(recipe.parameters(), lr=0.1).step()
    assert not any(torch.equal(a, b) for a, b in zip(recipe.vectors, vectors, strict=True)), "every vector learns"
    assert torch.equal(table, rows)
    assert all(torch.equal(frozen[name], value) for name, value in before.items())
    base = load_text_encoder(family / "bundle" / "text_encoder", torch.float32)
    assert torch.equal(table, base.get_input_embeddings().weight)


@pytest.mark.parametrize("vectors", [1, 3])
def test_builds_embed_the_word_as_training_does(phantoms: str, family: Path, tmp_path: Path, vectors: int) -> None:
    folder = copied_bundle(family, tmp_path)
    recipe = recipe_of(phantoms, folder, vectors=vectors)
    recipe.export()
    bundle = load_bundle(str(folder / "bundle"), embeddings=["look"])
    found = PromptEncoder(bundle.tokenizer, bundle.text_encoder, words=bundle.words).embed(PROMPT)
    with torch.no_grad():
        torch.testing.assert_close(recipe._embedded([PROMPT])[0], found, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_diffusers_reads_the_file_by_itself(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    recipe = recipe_of(phantoms, folder, vectors=3)
    recipe.export()
    base, file = load_bundle(str(folder / "bundle")), folder / "bundle" / "embeddings" / "look.safetensors"
    pipeline = StableDiffusionPipeline(
        vae=base.vae, text_encoder=base.text_encoder, tokenizer=base.tokenizer, unet=base.unet,
        scheduler=None, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.load_textual_inversion(str(file))
    expected, _ = pipeline.encode_prompt(PROMPT, "cpu", 1, do_classifier_free_guidance=False)
    with torch.no_grad():
        torch.testing.assert_close(recipe._embedded([PROMPT])[0], expected[0], rtol=1e-4, atol=1e-5)
    tensors = load_file(file)
    assert list(tensors) == ["<look>"]
    assert torch.equal(tensors["<look>"], recipe.vectors.detach())


@pytest.mark.parametrize(("vectors", "initializer"), [(2, "teeth"), (2, "teeth gums"), (3, "teeth gums")])
def test_a_word_starts_from_its_initializer_in_turn(vectors: int, initializer: str, phantoms: str) -> None:
    miniature = find_bundle("miniature")
    tokenizer = load_tokenizer(miniature / "tokenizer")
    table = load_text_encoder(miniature / "text_encoder", torch.float32).get_input_embeddings().weight
    spec = train_spec("nowhere", Path("nowhere"), "textual-inversion", vectors=vectors, initializer=initializer)
    tokens = tokenizer(initializer, add_special_tokens=False).input_ids
    expected = (tokens * vectors)[:vectors]
    assert torch.equal(start_vectors(spec, tokenizer, table), table[expected])


def test_an_initializer_of_too_many_tokens_is_refused(phantoms: str, family: Path) -> None:
    for initializer, found in (("teeth teeth teeth", "3 tokens"), (" ", "0 tokens")):
        with pytest.raises(SpecError) as caught:
            recipe_of(phantoms, family, initializer=initializer, vectors=2)
        assert caught.value.key == "initializer"
        assert found in str(caught.value.found)


def test_random_vectors_are_named_by_the_seed(phantoms: str, family: Path) -> None:
    first, again, other = (recipe_of(phantoms, family, seed=seed).vectors for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_word_that_the_tokenizer_knows_is_refused(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    spec = train_spec(phantoms, folder, "textual-inversion").model_copy(update={"name": "|endoftext|"})
    with pytest.raises(BundleError) as caught:
        TextualInversionRecipe(spec, CPU)
    assert (caught.value.key, caught.value.found) == ("<|endoftext|>", "a token of the tokenizer")


def test_vectors_of_another_width_are_refused_by_name(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    recipe_of(phantoms, folder).export()
    file = folder / "bundle" / "embeddings" / "look.safetensors"
    save_file({"<look>": torch.zeros(2, 768)}, file)
    with pytest.raises(BundleError) as caught:
        load_bundle(str(folder / "bundle"), embeddings=["look"])
    error = caught.value
    assert (error.file, error.found) == (str(file), "vectors of width 768")
    assert "width 128" in error.expected


def test_prompts_are_drawn_from_the_templates(phantoms: str, family: Path) -> None:
    recipe = recipe_of(phantoms, family, batch=8, prompts=["{word}", "{prompt} as {word}"])
    batch = training_data(recipe._spec).batch(0, 0, 8)
    prompts = recipe._prompts(batch)
    full = [f"{row.prompt} as <look>" for row in batch.rows]
    assert all(prompt in {"<look>", whole} for prompt, whole in zip(prompts, full, strict=True))
    assert 0 < prompts.count("<look>") < 8


def test_a_prompt_that_loses_the_word_is_warned_about(phantoms: str, family: Path) -> None:
    recipe = recipe_of(phantoms, family)
    with pytest.warns(UserWarning, match="training does not see it"):
        recipe._window("teeth " * 74 + "<look>")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(recipe._window("<look>" + "teeth " * 74)) == 77


@pytest.mark.slow
def test_a_killed_run_resumes_bit_for_bit(phantoms: str, family: Path, tmp_path: Path) -> None:
    values = {"initializer": "teeth", "steps": 8}
    cut, whole = killed_and_whole(family, phantoms, tmp_path, "textual-inversion", **values)
    assert torch.equal(weights_of(cut)["vectors"], weights_of(whole)["vectors"])
    assert losses_of(cut) == losses_of(whole)


@pytest.mark.slow
def test_a_run_writes_its_word_and_nothing_else(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    before = {file: file.read_bytes() for file in (folder / "bundle").rglob("*") if file.is_file()}
    run_training(train_spec(phantoms, folder, "textual-inversion", validate_steps=4, learning_rate=0.01))
    after = {file: file.read_bytes() for file in (folder / "bundle").rglob("*") if file.is_file()}
    word = folder / "bundle" / "embeddings" / "look.safetensors"
    assert after.keys() - before.keys() == {word}
    assert all(after[file] == content for file, content in before.items())
    assert (folder / "textual-inversion" / "previews" / "0000004.png").exists()
