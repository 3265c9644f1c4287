"""The miniature's vocabulary: the same in every run, and one that goes on keeps what it had."""

from __future__ import annotations

import torch
from transformers import CLIPTextModel, CLIPTokenizer

from dentgen.models.bundle import find_bundle
from dentgen.training.miniature import extended_text_encoder, new_tokenizer


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
