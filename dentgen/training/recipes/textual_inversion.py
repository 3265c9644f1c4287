"""Recipe ``textual-inversion``: a new word, a few token embeddings, learnt from a handful of pictures.

Everything else is frozen: the word's vectors are the only parameters, and the token table stays as it is (textual
inversion, Gal et al. 2022, https://arxiv.org/abs/2208.01618; written from the paper).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Float, Int64
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from dentgen.errors import SpecError
from dentgen.models.embeddings import SUFFIX, add_word
from dentgen.models.parts import EMBEDDINGS, load_text_encoder, load_tokenizer
from dentgen.models.text import framed_window, prompt_tokens
from dentgen.seeding import derive_seed
from dentgen.spec.train_personal import RECORD_PROMPT, WORD, TextualInversionSpec
from dentgen.training.data.rows import Batch
from dentgen.training.frozen_networks import FrozenAutoencoder, Unregistered, freeze, frozen_unet
from dentgen.training.noising import Noising
from dentgen.training.preview import predict_noise, sampled_preview
from dentgen.training.recipes.recipe import Recipe


class ExtendedTable(nn.Module):
    """A frozen table of token embeddings, extended by vectors that are trained."""

    def __init__(self, table: Float[Tensor, "tokens width"], vectors: nn.Parameter, first: int) -> None:
        """Extend a table.

        Args:
            table: The frozen embeddings.
            vectors: (vectors, width) of the new tokens.
            first: Id of the first of them.
        """
        super().__init__()
        self._table, self._vectors, self._first = Unregistered(nn.Embedding.from_pretrained(table)), vectors, first

    def forward(self, ids: Int64[Tensor, "b tokens"]) -> Float[Tensor, "b tokens width"]:
        """Embeddings of tokens."""
        new = (ids >= self._first) & (ids < self._first + len(self._vectors))
        known = self._table.net(torch.where(new, 0, ids))
        return torch.where(new[..., None], F.embedding(torch.where(new, ids - self._first, 0), self._vectors), known)


class TextualInversionRecipe(Recipe):
    """Trains ``bundle/embeddings/NAME.safetensors``."""

    def __init__(self, spec: TextualInversionSpec, device: torch.device) -> None:
        """Add the word to a tokenizer and its vectors to a frozen text encoder.

        Raises:
            BundleError: If the tokenizer knows the word.
            SpecError: If the initializer has no token, or more than the word has vectors.
        """
        super().__init__()
        self._spec, self._device = spec, device
        self._autoencoder, self._noising = FrozenAutoencoder(spec, device), Noising(spec, device)
        self._unet: Unregistered[UNet2DConditionModel] = Unregistered(frozen_unet(spec, device))
        self._tokenizer = load_tokenizer(Path(spec.bundle) / "tokenizer")
        text = freeze(load_text_encoder(Path(spec.bundle) / "text_encoder", torch.float32), device)
        table = text.get_input_embeddings().weight.detach()
        self.vectors = nn.Parameter(start_vectors(spec, self._tokenizer, table))
        tokens = add_word(str(self._file), spec.word, spec.vectors, self._tokenizer)
        text.set_input_embeddings(ExtendedTable(table, self.vectors, tokens[0]))
        self._words, self._text = {tokens[0]: tokens}, Unregistered[CLIPTextModel](text)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Noise loss of the pictures under prompts with the word."""
        noised = self._noising.noised(batch, self._autoencoder.pictures(batch))
        embeds = self._embedded(self._prompts(batch))
        noise_pred = predict_noise(self._unet.net, noised.latents, noised.timesteps, embeds, None)
        return self._noising.loss(batch, noised, noise_pred, self._spec.loss)

    def export(self) -> None:
        """Write the vectors under their word, float32, as diffusers and AUTOMATIC1111 read them."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        vectors = self.vectors.detach().float().cpu().contiguous()
        save_file({self._spec.word: vectors}, self._file, metadata={"format": "pt"})

    @torch.no_grad()
    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Image, image generated from the first prompt with the word."""
        embeds = self._embedded([self._filled(self._spec.prompts[0], row.prompt) for row in batch.rows])
        return sampled_preview(batch, None, self._autoencoder, self._noising, self._unet.net, embeds, None)

    @property
    def _file(self) -> Path:
        return Path(self._spec.bundle) / EMBEDDINGS / f"{self._spec.name}{SUFFIX}"

    def _prompts(self, batch: Batch) -> list[str]:
        """A prompt for each row, drawn from the spec's."""
        templates = self._spec.prompts
        picked = [templates[int(rng.integers(len(templates)))] for rng in self._noising.generators(batch, "template")]
        return [self._filled(template, row.prompt) for template, row in zip(picked, batch.rows, strict=True)]

    def _filled(self, template: str, prompt: str) -> str:
        return template.replace(WORD, self._spec.word).replace(RECORD_PROMPT, prompt)

    def _embedded(self, prompts: Sequence[str]) -> Float[Tensor, "b tokens width"]:
        ids = torch.tensor([self._window(prompt) for prompt in prompts], device=self._device)
        embeds: Tensor = self._text.net(ids)[0]
        return embeds

    def _window(self, prompt: str) -> list[int]:
        """Token ids of a prompt, of which training sees one window; warns if it loses the word."""
        tokens, room = prompt_tokens(self._tokenizer, prompt, self._words), int(self._tokenizer.model_max_length) - 2
        if set(tokens[room:]) & {new for word in self._words.values() for new in word}:
            warnings.warn(
                f"prompt: found the word after {room} tokens, training does not see it: {prompt!r}", stacklevel=2
            )
        return framed_window(self._tokenizer, tokens[:room])


def start_vectors(
    spec: TextualInversionSpec, tokenizer: CLIPTokenizer, table: Float[Tensor, "tokens width"]
) -> Float[Tensor, "vectors width"]:
    """Vectors that a word starts from: those of the initializer in turn, or random ones of the table's spread.

    Raises:
        SpecError: If the initializer has no token, or more tokens than the word has vectors.
    """
    if spec.initializer is None:
        generator = torch.Generator().manual_seed(derive_seed(spec.seed, spec.recipe, "vectors"))
        return torch.randn((spec.vectors, table.shape[1]), generator=generator).to(table) * table.std()
    tokens = prompt_tokens(tokenizer, spec.initializer, {})
    if not 1 <= len(tokens) <= spec.vectors:
        found, expected = f"{spec.initializer!r} of {len(tokens)} tokens", f"1 to {spec.vectors}, the word's vectors"
        raise SpecError(key="initializer", found=found, expected=expected)
    return table[[tokens[i % len(tokens)] for i in range(spec.vectors)]].clone()
