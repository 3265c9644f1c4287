"""Files of one folder are paired by the jaw in their names; groups, keys and shards follow from the names."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dentgen.errors import ConditionError
from dentgen.ingest.scans.patients import ScanFile, ScanFiles, find_patients


def names(folder: Path, *files: str) -> list[tuple[str, ...]]:
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return [tuple(file.name for file in scan.files) for scan in find_patients(str(folder))]


def test_names_that_differ_by_the_jaw_are_a_pair_upper_first(tmp_path: Path) -> None:
    found = names(
        tmp_path, "a/p_lower.obj", "a/p_upper.obj", "q maxilla.stl", "q mandible.stl", "solo.ply", "notes.txt"
    )
    assert found == [("a/p_upper.obj", "a/p_lower.obj"), ("q maxilla.stl", "q mandible.stl"), ("solo.ply",)]


def test_what_is_not_just_one_file_of_each_jaw_is_no_pair(tmp_path: Path) -> None:
    others = ["u/p_upper.obj", "l/p_lower.obj", "r_upper.obj", "r_lower.stl", "s_upper.obj", "s_maxilla.obj"]
    three = ["t_upper.obj", "t_maxilla.obj", "t_lower.obj"]
    assert sorted(names(tmp_path, *others, *three)) == sorted((name,) for name in others + three)


def test_a_pair_is_named_after_both() -> None:
    upper, lower = (ScanFile(f"a/p 1_{jaw}.obj", "x", None) for jaw in ("upper", "lower"))
    pair, single = ScanFiles((upper, lower)), ScanFiles((upper,))
    assert (pair.name, pair.group, single.name, single.group) == ("a/p 1", "p_1", "a/p 1_upper.obj", "p_1")
    assert pair.shard.startswith("scan-a_p_1-")
    assert (upper.jaw, lower.jaw, ScanFile("p.obj", "x", None).jaw) == ("upper", "lower", None)
    digest = hashlib.sha256(b"a/p 1_upper.obj").hexdigest()[:8]
    assert single.shard == f"scan-a_p_1_upper_obj-{digest}.tar", "sets that exist are continued"


def test_files_named_by_the_jaw_alone_are_the_patient_of_their_folder(tmp_path: Path) -> None:
    files = ["p 1/upper.obj", "p 1/lower.obj", "p2/upper.obj", "p3/upper/maxilla.stl"]
    assert names(tmp_path, *files) == [("p 1/upper.obj", "p 1/lower.obj"), ("p2/upper.obj",), ("p3/upper/maxilla.stl",)]
    found = find_patients(str(tmp_path))
    assert [scan.group for scan in found] == ["p_1", "p2", "p3"]
    assert [scan.name for scan in found] == ["p 1", "p2/upper.obj", "p3/upper/maxilla.stl"]
    assert ScanFiles((ScanFile("upper.obj", "x", None),)).group == "scan"


def test_a_jaw_word_stands_alone_or_after_a_separator() -> None:
    jaws = {name: ScanFile(name, "x", None).jaw for name in ("flower.stl", "a/flower.stl", "Pupper.obj")}
    assert set(jaws.values()) == {None}
    assert ScanFiles((ScanFile("a/flower.stl", "x", None),)).group == "flower"
    for separator in ("-", "_", " ", "."):
        file = ScanFile(f"a/p{separator}Lower.stl", "x", None)
        assert (file.jaw, ScanFiles((file,)).group) == ("lower", "p")
    assert ScanFile("lower.stl", "x", None).jaw == ScanFile("a/lower.stl", "x", None).jaw == "lower"


def test_labels_lie_beside_the_mesh_and_a_folder_without_meshes_is_refused(tmp_path: Path) -> None:
    names(tmp_path, "p.obj", "p.json")
    assert find_patients(str(tmp_path))[0].files[0].labels == str(tmp_path / "p.json")
    (tmp_path / "p.obj").unlink()
    with pytest.raises(ConditionError) as caught:
        find_patients(str(tmp_path))
    assert caught.value.found == "no mesh"
