"""Saved folders: names that stay inside, specs that read back, records without what is not theirs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dentgen.conditions.decode import decode_record
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.errors import SpecError
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import read_spec
from dentgen.studio.pictures import Variants
from dentgen.studio.planes import Rectangle
from dentgen.studio.saving import located, save, spec_text
from dentgen.studio.settings import Settings
from dentgen.studio.work import Snapshot
from tests.studio.conftest import SPEC
from tests.studio.documents import small_record, small_work

BASE = BuildSpec.model_validate(SPEC)


def made(snapshot: Snapshot | None = None) -> Variants:
    picture = np.full((32, 48, 3), 9, np.uint8)
    return Variants(snapshot or small_work().snapshot(), BASE, {"small-v000": picture, "small-v001": picture + 1})


def test_a_saved_record_reads_back_as_it_was(tmp_path: Path) -> None:
    work = small_work()
    layer = work.add_layer("crown", "gold")
    work.change_layer(layer.number, strength=0.5, negative_prompt="grey")
    work.change("x", {layer.plane: (Rectangle(0, 0, 3, 3), np.ones((3, 3), np.uint8))})
    snapshot = work.snapshot()
    saved = save(tmp_path, "", made(snapshot))
    (raw,) = read_records(list_shards(str(saved.folder / "conditions"))[0])
    record, before = decode_record(raw, (), with_painted=True), snapshot.record
    assert (record.key, record.prompt, record.group, record.split) == ("small", "two teeth", "g", "train")
    assert (record.license, record.attributes) == ("CC0-1.0", {"view": "frontal"})
    assert record.conditions.keys() == before.conditions.keys()
    assert all(np.array_equal(record.conditions[name], before.conditions[name]) for name in record.conditions)
    (region,) = record.painted
    assert (region.name, region.prompt, region.negative_prompt, region.strength) == ("crown", "gold", "grey", 0.5)
    assert region.mask.sum() == 9


def test_every_save_has_a_folder_of_its_own(tmp_path: Path) -> None:
    folders = [save(tmp_path, "", made()).folder.name for _ in range(3)]
    assert folders == ["small", "small-2", "small-3"]
    assert sorted(path.name for path in (tmp_path / "small" / "pictures").iterdir()) == [
        "small-v000.png", "small-v001.png",
    ]  # fmt: skip


def test_the_spec_reads_back_and_names_the_folder(tmp_path: Path) -> None:
    settings = Settings(
        seed=3, steps=6, guidance_scale=2.5, negative_prompt="no: 'quotes' #", adapters={"blended": 2.0}
    )
    spec = settings.build_spec(BASE, painted=2)
    saved = save(tmp_path, "one", replace(made(), spec=spec))
    assert read_spec(saved.spec) == located(spec, saved.folder)
    assert read_spec(saved.spec).source.path == str(tmp_path / "one" / "conditions")
    assert saved.command == f"dentgen generate {saved.spec}"


def test_a_source_of_parts_is_not_copied() -> None:
    source = {"path": "x/", "split": "train", "limit": 2, "oversample": {"view": {"frontal": 3}}}
    spec = located(BuildSpec.model_validate({**SPEC, "source": source}), Path("/there"))
    assert (spec.source.split, spec.source.limit, spec.source.oversample) == (None, None, {})
    assert "/there/conditions" in spec_text(spec)


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "-x", "a" * 81, "ä", "x\n"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError) as caught:
        save(tmp_path / "in", name, made())
    assert (caught.value.key, caught.value.found) == ("name", name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", ["../../etc/passwd", "<img src=x onerror=alert(1)>", "a/b", "Zähne"])
def test_keys_become_plain_names(tmp_path: Path, key: str) -> None:
    snapshot = small_work(key=key).snapshot()
    saved = save(tmp_path, "", replace(made(snapshot), pictures={f"{key}-v000": np.zeros((8, 8, 3), np.uint8)}))
    assert saved.folder.parent == tmp_path
    assert all(path.parent == saved.folder / "pictures" for path in (saved.folder / "pictures").iterdir())
    assert small_record().key == "small"
