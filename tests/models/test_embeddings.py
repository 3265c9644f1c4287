"""Textual inversion: prompts with custom words against diffusers; other prompts do not change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from torch import Tensor

from dentgen.errors import BundleError, ConditionError
from dentgen.models.bundle import Bundle, bundle_digest, find_bundle, load_bundle
from dentgen.models.embeddings import embedding_vectors
from dentgen.models.text import PromptEncoder

PROMPT = "a photo of <Smile> teeth, <plain>"
SMILE, PLAIN = (torch.randn(n, 128, generator=torch.Generator().manual_seed(n)) for n in (3, 1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The miniature with two embeddings, one of three vectors."""
    bundle = Path(shutil.copytree(find_bundle("miniature"), tmp_path / "bundle"))
    (bundle / "embeddings").mkdir()
    save_file({"emb_params": SMILE}, bundle / "embeddings" / "Smile.safetensors")
    save_file({"<any>": PLAIN[0]}, bundle / "embeddings" / "plain.safetensors")
    return bundle


def encoder(bundle: Bundle, **options: object) -> PromptEncoder:
    return PromptEncoder(bundle.tokenizer, bundle.text_encoder, words=bundle.words, **options)  # type: ignore[arg-type]


@pytest.mark.slow
def test_prompts_with_custom_words_are_embedded_as_by_diffusers(folder: Path, miniature: Bundle) -> None:
    loaded, base = load_bundle(str(folder), embeddings=["Smile", "plain"]), load_bundle(str(folder))
    pipeline = StableDiffusionPipeline(
        vae=base.vae, text_encoder=base.text_encoder, tokenizer=base.tokenizer, unet=base.unet,
        scheduler=None, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    # diffusers matches words only in lower case.
    pipeline.load_textual_inversion({"emb_params": SMILE}, token="<smile>")
    pipeline.load_textual_inversion({"emb_params": PLAIN}, token="<plain>")
    expected, _ = pipeline.encode_prompt(PROMPT.lower(), "cpu", 1, do_classifier_free_guidance=False)
    found = encoder(loaded).embed(PROMPT)
    assert float((found - expected[0]).abs().max()) < 1e-5
    assert not torch.allclose(found, encoder(miniature).embed(PROMPT), atol=1e-2)


def test_every_vector_becomes_a_token_and_other_tokens_do_not_change(folder: Path, miniature: Bundle) -> None:
    loaded = load_bundle(str(folder), embeddings=["plain", "Smile"])
    assert [len(tokens) for tokens in loaded.words.values()] == [3, 1]
    table = loaded.text_encoder.get_input_embeddings().weight
    for tokens, vectors in zip(loaded.words.values(), (SMILE, PLAIN), strict=True):
        assert torch.equal(table[list(tokens)], vectors)
    plain = "a photo of both teeth"
    assert torch.equal(encoder(loaded).embed(plain), encoder(miniature).embed(plain))
    long = encoder(loaded)
    long.embed("<Smile> " * 25)
    with pytest.raises(ConditionError) as caught:
        long.embed("<Smile> " * 25 + "a")
    assert "80 tokens" in caught.value.found


def test_words_are_case_sensitive(folder: Path) -> None:
    save_file({"emb_params": PLAIN}, folder / "embeddings" / "smile.safetensors")
    loaded = load_bundle(str(folder), embeddings=["Smile", "smile"])
    ids = [loaded.tokenizer(word, add_special_tokens=False).input_ids for word in ("<Smile>", "<smile>")]
    assert ids == [[first] for first in loaded.words]


@pytest.mark.slow
def test_the_digest_covers_chosen_embeddings(folder: Path) -> None:
    base, chosen = bundle_digest(str(folder)), load_bundle(str(folder), embeddings=["Smile"]).digest
    save_file({"emb_params": SMILE + 1}, folder / "embeddings" / "Smile.safetensors")
    assert load_bundle(str(folder)).digest == base
    assert len({base, chosen, load_bundle(str(folder), embeddings=["Smile"]).digest}) == 3


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_vectors_take_the_text_encoders_precision(folder: Path, dtype: torch.dtype) -> None:
    loaded = load_bundle(str(folder), embeddings=["plain"], dtype=dtype)
    assert loaded.text_encoder.get_input_embeddings().weight.dtype == dtype


def load_error(folder: Path, word: str) -> BundleError:
    with pytest.raises(BundleError) as caught:
        load_bundle(str(folder), embeddings=[word])
    return caught.value


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tensors", "key", "found"),
    [
        ({"clip_l": PLAIN, "clip_g": torch.zeros(1, 1280)}, "", "keys ['clip_g', 'clip_l']"),
        ({"emb_params": torch.zeros(2, 2, 128)}, "emb_params", "shape [2, 2, 128]"),
        ({"emb_params": torch.zeros(0, 128)}, "emb_params", "shape [0, 128]"),
        ({"emb_params": torch.zeros(2, 768)}, "", "vectors of width 768"),
    ],
)
def test_embeddings_that_do_not_fit_are_an_error(
    folder: Path, tensors: dict[str, Tensor], key: str, found: str
) -> None:
    file = folder / "embeddings" / "Smile.safetensors"
    save_file(tensors, file)
    error = load_error(folder, "Smile")
    assert (error.file, error.key, error.found) == (str(file), key, found)


@pytest.mark.integration
def test_words_that_the_tokenizer_knows_are_an_error(folder: Path) -> None:
    shutil.copy(folder / "embeddings" / "plain.safetensors", folder / "embeddings" / "|endoftext|.safetensors")
    assert load_error(folder, "|endoftext|").key == "<|endoftext|>"


@pytest.mark.parametrize("word", ["smile", "../embeddings/plain"])
def test_unknown_embeddings_are_an_error(folder: Path, word: str) -> None:
    error = load_error(folder, word)
    assert (error.file, error.found) == (f"{folder}/embeddings", f"no {word!r}")
    assert error.expected == "one of ['Smile', 'plain']"


def test_vectors_are_read_from_automatic1111s_pickles() -> None:
    flat = {"string_to_param.*": SMILE}
    assert torch.equal(embedding_vectors("a.pt", flat), SMILE)
