"""The dataset card: the hub accepts it, it tells the truth about the build, and no text of a source can break it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt

from dentgen.documents import DatasetIndex
from dentgen.report.card.card import dataset_card
from dentgen.report.card.front_matter import hub_splits
from dentgen.report.card.licenses import hub_license, license_reference
from dentgen.report.card.sample_summary import SampleSummary, SplitSummary, summarise
from dentgen.report.card.write import write_description
from dentgen.shards.index import read_index
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import read_plan
from dentgen.shards.reader import read_samples
from dentgen.shards.tar import png_bytes
from tests.conftest import ROOT
from tests.small_builds import described_build, two_split_source, two_split_spec

HOSTILE = "a | b ` <script>alert(1)</script>\n---\n# [x](http://evil)\n```\n: {license: mit} \x00" + "x" * 400


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, demo_members: dict[str, dict[str, bytes]]) -> Path:
    folder = tmp_path_factory.mktemp("card")
    return described_build(two_split_spec(two_split_source(folder, demo_members), folder / "out"))


def parts(out: Path) -> tuple[DatasetIndex, Plan, SampleSummary]:
    samples = summarise(pq.read_table(out / "samples.parquet"))
    return read_index(str(out)), read_plan(str(out)), samples


def head_of(card: bytes) -> dict[str, Any]:
    values = yaml.safe_load(card.decode().split("---\n")[1])
    assert isinstance(values, dict)
    return values


def hub_data(out: Path) -> Any:
    """What huggingface_hub makes of the head."""
    return DatasetCard((out / "README.md").read_text()).data


def test_the_hub_reads_it(out: Path) -> None:
    data = hub_data(out)
    assert data.license == "cc0-1.0"
    assert data.size_categories == ["n<1K"]
    assert data.task_categories == ["image-segmentation", "image-to-image"]
    assert {"synthetic", "dental", "webdataset"} <= set(data.tags)
    files = {entry["split"]: entry["path"] for entry in data.to_dict()["configs"][0]["data_files"]}
    assert files == {
        "train": ["shards/000002.tar", "shards/000003.tar", "shards/000004.tar"],
        "validation": ["shards/000000.tar", "shards/000001.tar"],
    }


def test_it_states_what_the_build_is(out: Path) -> None:
    index, plan, samples = parts(out)
    text = " ".join((out / "README.md").read_text().split())
    assert "planned = written + rejected | 10 = 10 + 0 |" in text
    assert "| `train` | 6 | 2 |" not in text
    assert "| `train` | 6 | 1 |" in text
    assert "No group stands in more than one split." in text
    assert "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia" in text
    assert "Not for diagnosis" in text
    for fact in (index.bundle_digest, index.spec_digest, "unipc, 4 steps", "| seed | 5 |", plan.environment["torch"]):
        assert fact in text
    divided = dataset_card(index, plan, replace(samples, divided_groups=2)).decode()
    assert "**2 groups stand in more than one split**" in divided


def test_it_names_loras_and_embeddings_where_there_are_any(out: Path) -> None:
    index, plan, samples = parts(out)
    assert b"LoRAs" not in dataset_card(index, plan, samples)
    chosen = {**plan.spec.model, "loras": {"lcm": 0.5}, "embeddings": ["smile", "gum"]}
    text = dataset_card(index, plan.model_copy(update={"spec": {**plan.spec, "model": chosen}}), samples).decode()
    assert "| LoRAs and their scales | `lcm 0.5` |" in text
    assert "| embeddings | `smile, gum` |" in text
    del chosen["loras"], chosen["embeddings"]  # as in plans that were made before there were any
    assert dataset_card(index, plan.model_copy(update={"spec": {**plan.spec, "model": chosen}}), samples)


def test_types_are_those_of_every_sample(out: Path) -> None:
    features = {
        feature["name"]: feature for feature in head_of((out / "README.md").read_bytes())["dataset_info"]["features"]
    }
    for _, members in read_samples(str(out)):
        assert features.keys() - {"__key__", "__url__"} == members.keys()
        assert_declared(json.loads(members["json"]), features["json"]["struct"])


def assert_declared(value: Any, struct: list[dict[str, Any]]) -> None:
    dtypes = {str: "string", int: "int64", float: "float64", bool: "bool"}
    declared = {field["name"]: field for field in struct}
    for name, item in value.items():
        if isinstance(item, dict):
            assert_declared(item, declared[name]["struct"])
        elif isinstance(item, list):
            assert all(dtypes[type(element)] == declared[name]["sequence"] for element in item), name
        else:
            assert declared[name]["dtype"] == dtypes[type(item)], name


def test_the_hub_reads_what_only_later_samples_have(demo_members: dict[str, dict[str, bytes]], tmp_path: Path) -> None:
    """Types guessed from the first five samples would make the sixth an error."""
    last = sorted(demo_members)[7]
    changed = {key: {**value, "json": b'{"prompt": "teeth"}'} for key, value in demo_members.items()}
    changed[last] = {**demo_members[last], "fdi.png": png_bytes(np.zeros((128, 128), np.uint8))}
    out = described_build(two_split_spec(two_split_source(tmp_path, changed), tmp_path / "out"))
    code = """
import datasets, json, sys
splits = datasets.load_dataset(sys.argv[1])
samples = [sample["json"] for split in splits for sample in splits[split]]
print(json.dumps({sample["key"]: [sample["warnings"], sample["attributes"]["view"]] for sample in samples}))
"""
    found = json.loads(run_python("-c", code, str(out), home=tmp_path))
    assert len(found) == 10
    assert {key for key, (warnings, _) in found.items() if warnings} == {f"{last}-v000", f"{last}-v001"}
    assert {view for _, view in found.values()} == {None, "lower-occlusal"}


def run_python(*arguments: str, home: Path) -> str:
    """What a Python without network prints."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HF_HOME": str(home)}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    command = [sys.executable, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_splits_on_the_hub() -> None:
    def names(shard_splits: dict[str, tuple[str, ...]]) -> dict[str, str]:
        found = sorted({split for splits in shard_splits.values() for split in splits})
        splits = tuple(SplitSummary(name, 1, 1) for name in found)
        return hub_splits(SampleSummary(splits=splits, shard_splits=shard_splits))

    assert names({"0": ("train",), "1": ("test",)}) == {"train": "train", "test": "test"}
    assert names({"0": ("train", "test"), "1": ("test",)}) == {"train": "mixed", "test": "mixed"}
    assert names({"0": ("",)}) == {"": "train"}
    assert names({"0": ("fold-1",), "1": ("fold 1",)}) == {"fold-1": "mixed", "fold 1": "mixed"}
    assert names({"0": ("all",)}) == {"all": "mixed"}, "the hub's word for all splits together"


@pytest.mark.parametrize(
    ("licenses", "expected", "reference"),
    [
        (["CC0-1.0"], {"license": "cc0-1.0"}, "https://spdx.org/licenses/CC0-1.0.html"),
        (["cc-by-4.0 "], {"license": "cc-by-4.0"}, "https://spdx.org/licenses/CC-BY-4.0.html"),
        (["ODbL-1.0"], {"license": "odbl"}, "https://spdx.org/licenses/ODbL-1.0.html"),
        (["Clinic's own: v2"], {"license": "other", "license_name": "clinic-s-own-v2"}, "Clinic's own: v2"),
        ([""], {"license": "other", "license_name": "unknown"}, "unknown"),
        (["CC0-1.0", ""], {"license": "other", "license_name": "mixed"}, "https://spdx.org/licenses/CC0-1.0.html"),
        ([], {"license": "other", "license_name": "unknown"}, ""),
    ],
)
def test_licenses(licenses: list[str], expected: dict[str, str], reference: str) -> None:
    assert hub_license(licenses) == expected
    assert not licenses or license_reference(licenses[0]) == reference


def test_no_text_of_a_source_breaks_it(out: Path) -> None:
    index, plan, samples = parts(out)
    shards: dict[str, tuple[str, ...]] = dict.fromkeys(samples.shard_splits, (HOSTILE,))
    hostile = replace(
        samples,
        splits=(SplitSummary(HOSTILE, 10, 1),),
        licenses=((HOSTILE, 10),),
        some_prompts=(HOSTILE,),
        shard_splits=shards,
    )
    spec = plan.spec | {
        "model": plan.spec.model | {"bundle": HOSTILE, "adapters": {HOSTILE: 1.0}},
        "sampling": plan.spec["sampling"] | {"negative_prompt": HOSTILE, "guidance_scale": 2.0},
    }
    card = dataset_card(index, plan.model_copy(update={"spec": spec}), hostile)
    assert head_of(card).keys() == head_of((out / "README.md").read_bytes()).keys() | {"license_name"}
    DatasetCard(card.decode())
    assert structure(card) == structure((out / "README.md").read_bytes(), rows_less=1)
    assert b"```python\nfrom dentgen" in card
    for block in re.findall(r"```python\n(.*?)```", card.decode(), re.DOTALL):
        compile(block, "card", "exec")
        assert "://" not in block


def structure(card: bytes, rows_less: int = 0) -> dict[str, int]:
    """How many of each element the page has, apart from code; the build's own page has two splits and three prompts."""
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(card.decode().split("---\n", 2)[2])
    assert "<script" not in html
    assert "http://evil" not in re.sub(r"<code>.*?</code>", "", html)
    counts = {tag: html.count(f"<{tag}>") for tag in ("h1", "h2", "h3", "hr", "tr", "td", "li", "pre")}
    return counts | {"tr": counts["tr"] - rows_less, "td": counts["td"] - 3 * rows_less}


def test_the_same_build_elsewhere_has_the_same_card(
    out: Path, tmp_path: Path, demo_members: dict[str, dict[str, bytes]]
) -> None:
    again = described_build(two_split_spec(two_split_source(tmp_path, demo_members), tmp_path / "elsewhere"))
    for name in ("README.md", "croissant.json"):
        assert (again / name).read_bytes() == (out / name).read_bytes()
        assert (out / "versions" / "0" / name).read_bytes() == (out / name).read_bytes()
    before = (out / "README.md").stat().st_size
    write_description(str(out), read_plan(str(out)), read_index(str(out)))
    assert (out / "README.md").stat().st_size == before


def test_a_build_without_samples_has_one_too(demo_members: dict[str, dict[str, bytes]], tmp_path: Path) -> None:
    source = two_split_source(tmp_path, {key: {**value, "seg.png": b""} for key, value in demo_members.items()})
    out = described_build(two_split_spec(source, tmp_path / "out"))
    data, text = hub_data(out), (out / "README.md").read_text()
    assert "configs" not in data.to_dict()
    assert (data.license, data.license_name) == ("other", "unknown")
    assert "| 10 = 0 + 10 |" in text
    assert "```" not in text, "there is nothing to load"


def test_its_code_runs(out: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (out / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    code = "\n".join([f"OUT = {str(out)!r}", *blocks, "print(len(samples), split, picture.size, seg.mode)"])
    assert run_python("-c", code, home=tmp_path).split() == ["6", "train", "(64,", "64)", "L"]
