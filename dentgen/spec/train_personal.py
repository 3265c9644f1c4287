"""Training specs of looks that are learnt from a handful of pictures: DreamBooth and textual inversion."""

from __future__ import annotations

import re
from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from dentgen.spec.train_recipes import DiffusionSpec
from dentgen.spec.train_sections import RECIPE, TRAIN_STEPS, wrong_value

#: What stands for the learnt word, and for the record's own prompt, in templates.
WORD: Final = "{word}"
RECORD_PROMPT: Final = "{prompt}"
#: Vectors of a word; CLIP reads 75 tokens in all.
_MOST_VECTORS: Final = 32
_WORD_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class DreamBoothSpec(DiffusionSpec):
    """Trains a LoRA on a handful of pictures under one prompt with a rare word, with prior preservation."""

    recipe: Literal["dreambooth"] = RECIPE
    instance_prompt: str = Field(
        min_length=1, description="Prompt of every picture, instead of the records'; a rare word in it names the look."
    )
    class_prompt: str | None = Field(
        default=None,
        min_length=1,
        description="The same without that word: what it draws must not change. null: none, with prior_weight 0.",
    )
    prior_weight: float = Field(
        default=1.0, ge=0, description="Weight of the loss on class pictures; 0: the pictures' own loss alone."
    )
    class_pictures: int = Field(
        default=100, gt=0, description="Pictures that the bundle draws from class_prompt before training."
    )
    class_steps: int = Field(default=20, gt=0, le=TRAIN_STEPS, description="UniPC steps of a class picture.")
    class_guidance: float = Field(
        default=1.0, ge=0, description="guidance_scale of class pictures; 1, none, is what the loss preserves exactly."
    )
    rank: int = Field(default=16, gt=0, description="LoRA rank of the trained part.")
    train_text_encoder: bool = Field(default=False, description="Train a LoRA of the text encoder too.")
    name: str | None = Field(
        default=None, min_length=1, description="Name of the LoRA in the bundle; null: dreambooth."
    )

    @property
    def part(self) -> str:
        """Name of the LoRA in the bundle."""
        return self.name or "dreambooth"

    @model_validator(mode="after")
    def _check_class_prompt(self) -> Self:
        if self.prior_weight and self.class_prompt is None:
            raise wrong_value("class_prompt", None, "the prompt without the rare word, because prior_weight is above 0")
        if self.class_prompt == self.instance_prompt:
            raise wrong_value("class_prompt", self.class_prompt, "another prompt than instance_prompt")
        return self


class TextualInversionSpec(DiffusionSpec):
    """Trains a new word, a few token embeddings, on a handful of pictures; everything else is frozen."""

    recipe: Literal["textual-inversion"] = RECIPE
    name: str = Field(
        min_length=1, description="The word: prompts say <NAME>, and a build names it in model.embeddings."
    )
    vectors: int = Field(
        default=1, gt=0, le=_MOST_VECTORS, description="Token embeddings of the word, all of which prompts spend."
    )
    initializer: str | None = Field(
        default=None,
        min_length=1,
        description="Known words whose embeddings the word starts from, repeated as needed; null: random ones.",
    )
    prompts: tuple[str, ...] = Field(
        default=("{word}, {prompt}", "{word}"),
        min_length=1,
        description="Prompts to train with, one drawn for each row: {word} stands for the word, {prompt} for the "
        "record's own prompt.",
    )

    @property
    def word(self) -> str:
        """The word as prompts say it."""
        return f"<{self.name}>"

    @field_validator("name")
    @classmethod
    def _is_a_word(cls, name: str) -> str:
        if not _WORD_NAME.fullmatch(name):
            raise ValueError("expected letters, digits, '-', '_' and '.', because it names a file and a word")
        return name

    @field_validator("prompts")
    @classmethod
    def _have_the_word(cls, prompts: tuple[str, ...]) -> tuple[str, ...]:
        if without := [prompt for prompt in prompts if WORD not in prompt]:
            raise ValueError(f"found {without[0]!r}, expected {WORD} in every prompt")
        return prompts
