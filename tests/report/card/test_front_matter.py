"""The YAML front matter: the hub accepts it, and ``datasets`` reads the shards by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard

from dentgen.report.card.front_matter import front_matter, hub_splits
from dentgen.report.card.sample_summary import SampleSummary, SplitSummary, summarise
from dentgen.report.card.write import write_description
from dentgen.shards.index_reader import read_index
from dentgen.shards.plan_file import read_plan
from dentgen.shards.reader import read_samples
from tests.report.fake_builds import fake_build, rejected, with_spec, written


def head_of(out: Path) -> dict[str, Any]:
    values = yaml.safe_load(front_matter(read_index(str(out)), read_plan(str(out)), summarise(str(out)), "teeth"))
    assert isinstance(values, dict)
    return values


@pytest.mark.slow
def test_hub_reads_the_card_of_a_real_build(two_split_build: Path) -> None:
    data: Any = DatasetCard((two_split_build / "README.md").read_text()).data
    assert data.license == "cc0-1.0"
    assert data.size_categories == ["n<1K"]
    assert data.task_categories == ["image-segmentation", "image-to-image"]
    assert {"synthetic", "dental", "webdataset"} <= set(data.tags)
    files = {entry["split"]: entry["path"] for entry in data.to_dict()["configs"][0]["data_files"]}
    assert files == {
        "train": ["shards/000002.tar", "shards/000003.tar", "shards/000004.tar"],
        "validation": ["shards/000000.tar", "shards/000001.tar"],
    }


def test_types_are_those_of_every_sample(two_split_build: Path) -> None:
    features = {feature["name"]: feature for feature in head_of(two_split_build)["dataset_info"]["features"]}
    for _, members in read_samples(str(two_split_build)):
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


def test_scales_of_adapters_and_loras_are_declared(tmp_path: Path) -> None:
    plan = fake_build(tmp_path, [written(0)])
    plan = with_spec(plan, model={"adapters": {"b": {"tooth": 1.5}}, "controlnets": {"a": 0.5}, "loras": {"lcm": 1.0}})
    head = yaml.safe_load(front_matter(read_index(str(tmp_path)), plan, summarise(str(tmp_path)), "teeth"))
    json_feature = next(feature for feature in head["dataset_info"]["features"] if feature["name"] == "json")
    structs = {field["name"]: field["struct"] for field in json_feature["struct"] if "struct" in field}
    assert [scale["name"] for scale in structs["adapters"]] == ["a", "b"]
    assert structs["adapters"][1] == {"name": "b", "struct": [{"name": "tooth", "dtype": "float64"}]}
    assert structs["loras"] == [{"name": "lcm", "dtype": "float64"}]


def test_datasets_reads_metadata_that_only_later_samples_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Types inferred from the first five samples would make the later ones an error."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    plain = [sample for n in range(4) for sample in written(n, split="", attributes={})]
    late = written(4, split="", attributes={"view": "frontal"}, warnings=("odd",))
    plan = fake_build(tmp_path / "out", [[*plain, *late]])
    write_description(str(tmp_path / "out"), plan, read_index(str(tmp_path / "out")))
    samples = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    found = {sample["json"]["key"]: sample["json"] for sample in samples}
    assert len(found) == 10
    assert {key for key, metadata in found.items() if metadata["warnings"]} == {"jaw-004-v000", "jaw-004-v001"}
    assert {metadata["attributes"]["view"] for metadata in found.values()} == {None, "frontal"}


def test_build_without_samples_has_no_files(tmp_path: Path) -> None:
    plan = fake_build(tmp_path, [rejected(0, "no map")])
    head = yaml.safe_load(front_matter(read_index(str(tmp_path)), plan, summarise(str(tmp_path)), "teeth"))
    assert head.keys().isdisjoint({"configs", "dataset_info"})
    assert (head["license"], head["license_name"]) == ("other", "unknown")


@pytest.mark.parametrize(
    ("shard_splits", "expected"),
    [
        ({"0": ("train",), "1": ("test",)}, {"train": "train", "test": "test"}),
        ({"0": ("test", "train"), "1": ("test",)}, {"train": "mixed", "test": "mixed"}),
        ({"0": ("",)}, {"": "train"}),
        ({"0": ("fold-1",), "1": ("fold 1",)}, {"fold-1": "mixed", "fold 1": "mixed"}),
        ({"0": ("all",)}, {"all": "mixed"}),
    ],
)
def test_splits_on_the_hub(shard_splits: dict[str, tuple[str, ...]], expected: dict[str, str]) -> None:
    names = sorted({split for splits in shard_splits.values() for split in splits})
    splits = tuple(SplitSummary(name, 1, 1) for name in names)
    assert hub_splits(SampleSummary(splits=splits, shard_splits=shard_splits)) == expected
