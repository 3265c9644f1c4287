"""The dataset card: Markdown for people, with a YAML front matter for the Hugging Face hub.

Equal builds give equal bytes, so the card has no date. Text from sources is untrusted: it is shortened and written on
one line in a code span.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from dentgen.conditions.readers.raw import printable
from dentgen.documents.index import DatasetIndex
from dentgen.models.restricted_use import use_restrictions
from dentgen.report.card.front_matter import MIXED_SPLIT, front_matter, hub_splits
from dentgen.report.card.members import sample_members
from dentgen.report.card.sample_summary import SampleSummary
from dentgen.report.card.statements import USES, limits, provenance
from dentgen.shards.plan import Plan

_TEMPLATE: Final = "card.md.j2"
_MAX_LENGTH: Final = 160
#: Names of splits that are safe to quote in the card's code.
_PLAIN: Final = re.compile(r"[\w.-]+", re.ASCII)


def dataset_card(index: DatasetIndex, plan: Plan, samples: SampleSummary) -> bytes:
    """The card of a build.

    Args:
        index: The sealed index.
        plan: The build's plan.
        samples: Counts over the written samples.

    Returns:
        UTF-8 Markdown with a front matter that ``huggingface_hub.DatasetCard`` reads.
    """
    name = dataset_title(index)
    splits = hub_splits(samples)
    split = "train" if "train" in splits else next(iter(splits), "")
    sampling = plan.spec.sampling
    text = _template_environment().get_template(_TEMPLATE).render(
        head=front_matter(index, plan, samples, name),
        name=name,
        index=index,
        plan=plan,
        conditions=plan.spec.conditions.model_dump(mode="json"),
        sampling=sampling,
        samples=samples,
        height=plan.spec.conditions.shape[0],
        width=plan.spec.conditions.shape[1],
        members=sample_members(plan),
        image_format=plan.spec.output.image_format,
        total_bytes=sum(shard.bytes for shard in index.shards),
        source_type=plan.source_type,
        provenance=provenance(plan),
        split=split if _PLAIN.fullmatch(split) else "",
        hub_split=splits.get(split, ""),
        is_mixed=splits.get(split) == MIXED_SPLIT,
        num_shards=len({unit.shard for unit in plan.units}),
        uses=USES,
        restrictions=use_restrictions(plan.bundle_licenses),
        limits=limits(plan),
    )  # fmt: skip
    return text.encode()


def dataset_title(index: DatasetIndex) -> str:
    """Title of a build, the same wherever the build is stored."""
    return f"Synthetic dental images, dentgen build {index.spec_digest[:12]}"


@cache
def _template_environment() -> Environment:
    """Templates of the card, which are compiled once in a process."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(),  # none for Markdown: untrusted text goes through "literal"
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"literal": _literal, "cell": _cell, "words": _words}
    return environment


def _literal(text: str) -> str:
    """Untrusted text as a code span, in which Markdown and HTML have no effect; a backtick would end it."""
    shown = printable(text).replace("`", "'")
    return f"`{shown[:_MAX_LENGTH]}...`" if len(shown) > _MAX_LENGTH else f"`{shown}`"


def _cell(text: str) -> str:
    """Text as a table cell; a bar would end it."""
    return text.replace("|", "\\|")


def _words(values: Mapping[str, object]) -> str:
    """Names and values on one line, lists joined by plus signs, mappings in brackets."""
    return ", ".join(f"{name} {_word(value)}" for name, value in sorted(values.items()))


def _word(value: object) -> str:
    if isinstance(value, Mapping):
        return f"({_words(value)})"
    return " + ".join(map(str, value)) if isinstance(value, list) else str(value)
