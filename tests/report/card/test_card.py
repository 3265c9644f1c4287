"""The dataset card: it is true to the build, its code runs, and no source text can break it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt

from dentgen.documents.index import DatasetIndex
from dentgen.models.restricted_use import RESTRICTED_USE
from dentgen.report.card.card import dataset_card, dataset_title
from dentgen.report.card.sample_summary import SampleSummary, SplitSummary, summarise
from dentgen.report.card.statements import limits, provenance
from dentgen.shards.index_reader import read_index
from dentgen.shards.plan import Plan
from tests.conftest import ROOT
from tests.report.fake_builds import HOSTILE, fake_build, rejected, with_spec, written

Parts = tuple[DatasetIndex, Plan, SampleSummary]


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    """Index, plan and summary of a build in two splits."""
    plan = fake_build(tmp_path, [written(0), [*written(1), *written(2)]])
    return read_index(str(tmp_path)), plan, summarise(str(tmp_path))


def rows(card: bytes) -> dict[str, str]:
    """Second cell of every table row by the first."""
    lines = re.findall(r"^\| (.*?) \| (.*?) \|", card.decode(), re.MULTILINE)
    return {name: value for name, value in lines if value.strip("-")}


def code_blocks(card: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card, re.DOTALL)


def head_of(card: bytes) -> dict[str, Any]:
    values = yaml.safe_load(card.decode().split("---\n")[1])
    assert isinstance(values, dict)
    return values


def test_tables_state_what_the_build_is(parts: Parts) -> None:
    index, plan, samples = parts
    card = dataset_card(*parts)
    found = rows(card)
    assert found["samples planned = written + rejected"] == "6 = 6 + 0"
    assert found["`train`"] == "4"
    assert "| `train` | 4 | 1 |" in card.decode()
    assert found["bundle sha256"] == f"`{index.bundle_digest}`"
    assert found["build spec sha256"] == f"`{index.spec_digest}`"
    assert found["seed"] == str(plan.spec.sampling.seed)
    assert found["scheduler"].startswith(f"unipc, {plan.spec.sampling.steps} steps")
    assert found["prompts"].startswith(f"{samples.prompts} distinct, for example ")
    assert found["`CC0-1.0`"] == "6"
    for statement in (provenance(plan), *limits(plan)):
        assert statement in card.decode()
    assert plan.spec.sampling.source_type in card.decode()
    assert dataset_title(index) in card.decode()


def test_restrictions_of_the_bundle_are_passed_on(parts: Parts) -> None:
    index, plan, samples = parts
    assert "not declared in the bundle" in dataset_card(*parts).decode()
    card = dataset_card(index, replace(plan, bundle_licenses=("creativeml-openrail-m",)), samples)
    assert "Its license: `creativeml-openrail-m`." in card.decode()
    assert f"<{RESTRICTED_USE['creativeml-openrail-m']}>" in card.decode().partition("## Provenance")[2]
    assert head_of(card)["license_link"] == RESTRICTED_USE["creativeml-openrail-m"]
    assert "restricts the use" not in dataset_card(index, replace(plan, bundle_licenses=("mit",)), samples).decode()


def test_divided_groups_are_counted_and_emphasised(parts: Parts) -> None:
    index, plan, samples = parts
    assert b"**1 group " in dataset_card(*parts), "patient-0 is in train and validation"
    assert b"**7 groups " in dataset_card(index, plan, replace(samples, divided_groups=7))
    assert b"**" not in dataset_card(index, plan, replace(samples, divided_groups=0)).partition(b"## Splits")[2]


def test_prompts_that_were_not_all_counted_are_a_lower_bound(parts: Parts) -> None:
    index, plan, samples = parts
    card = dataset_card(index, plan, replace(samples, prompts=200_000, prompts_exact=False))
    assert rows(card)["prompts"].startswith("at least 200000 distinct")


def test_loras_and_embeddings_are_named_where_there_are_any(parts: Parts) -> None:
    index, plan, samples = parts
    assert not {"LoRAs and scales", "embeddings"} & rows(dataset_card(*parts)).keys()
    chosen = with_spec(plan, model={"loras": {"lcm": 0.5}, "embeddings": ("smile", "gum")})
    found = rows(dataset_card(index, chosen, samples))
    assert (found["LoRAs and scales"], found["embeddings"]) == ("`lcm 0.5`", "`smile, gum`")


def test_source_text_cannot_break_the_card(parts: Parts) -> None:
    index, plan, samples = parts
    safe = replace(
        samples,
        splits=(SplitSummary("a b", 6, 1),),
        some_prompts=("teeth",),
        shard_splits=dict.fromkeys(samples.shard_splits, ("a b",)),
    )
    hostile = replace(
        safe,
        splits=(SplitSummary(HOSTILE, 6, 1),),
        licenses=((HOSTILE, 6),),
        some_prompts=(HOSTILE,),
        shard_splits=dict.fromkeys(samples.shard_splits, (HOSTILE,)),
    )
    sampling: Mapping[str, Any] = {"negative_prompt": HOSTILE, "guidance_scale": 2.0}
    hostile_plan = with_spec(plan, model={"bundle": HOSTILE, "adapters": {HOSTILE: 1.0}}, sampling=sampling)
    card, usual = dataset_card(index, hostile_plan, hostile), dataset_card(index, plan, safe)
    assert head_of(card).keys() == head_of(usual).keys() | {"license_name"}
    DatasetCard(card.decode())
    assert structure(card) == structure(usual)
    for block in code_blocks(card.decode()):
        compile(block, "card", "exec")
        assert "://" not in block


def structure(card: bytes) -> dict[str, int]:
    """Number of HTML elements of each kind on the rendered card."""
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(card.decode().split("---\n", 2)[2])
    assert "<script" not in html
    assert "http://evil" not in re.sub(r"<code>.*?</code>", "", html)
    return {tag: html.count(f"<{tag}>") for tag in ("h1", "h2", "h3", "hr", "tr", "td", "li", "pre")}


def test_build_without_samples_has_a_card_without_code(tmp_path: Path) -> None:
    plan = fake_build(tmp_path, [rejected(0, "no map"), rejected(1, "no map")])
    card = dataset_card(read_index(str(tmp_path)), plan, summarise(str(tmp_path)))
    assert rows(card)["samples planned = written + rejected"] == "4 = 0 + 4"
    assert code_blocks(card.decode()) == []


@pytest.mark.integration
def test_code_of_the_card_runs(two_split_build: Path, tmp_path: Path) -> None:
    blocks = code_blocks((two_split_build / "README.md").read_text())
    assert len(blocks) == 3
    code = [f"OUT = {str(two_split_build)!r}", *blocks, "print(len(samples), split, picture.size, seg.mode)"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HF_HOME": str(tmp_path)}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    command = [sys.executable, "-c", "\n".join(code)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["6", "train", "(64,", "64)", "L"]


def test_scales_by_class_are_shown_in_brackets(parts: Parts) -> None:
    index, plan, samples = parts
    scales = {"blended": {"tooth": 1.5, "background": 0.5}, "normal": 1.0}
    found = rows(dataset_card(index, with_spec(plan, model={"adapters": scales}), samples))
    assert found["adapters and scales"] == "`blended (background 0.5, tooth 1.5), normal 1.0`"
