"""VTP and DCM files are the meshes that they were written from; damage, crashes and excess are one refused file."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from dentgen.conditions.label_schemes import convert
from dentgen.errors import ConditionError, SpecError
from dentgen.ingest.scans.mesh_file import read_mesh
from dentgen.ingest.scans.native_files import Limits, read_native
from dentgen.phantom.mesh import join_parts
from tests.conftest import ROOT
from tests.ingest.scans.jaws import cast
from tests.ingest.scans.native_samples import dcm, vtp
from tests.ingest.scans.test_face_colours import trimesh


@cache
def jaw() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, faces and labels of the faces of a phantom's jaw."""
    mesh = join_parts(list(cast("upper-occlusal")))
    return mesh.vertices, mesh.faces, mesh.fdi


@cache
def box() -> tuple[np.ndarray, np.ndarray]:
    """A small mesh."""
    mesh = trimesh.creation.icosphere(3)
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


def test_a_vtp_is_the_ply_of_the_same_mesh(tmp_path: Path) -> None:
    vertices, faces, labels = jaw()
    of_vertices = np.zeros(len(vertices), np.int32)
    of_vertices[faces.reshape(-1)] = np.repeat(labels, 3)
    ply = trimesh.Trimesh(vertices, faces, process=False)
    ply.vertex_attributes["label"] = of_vertices
    (tmp_path / "a.ply").write_bytes(ply.export(file_type="ply"))
    (tmp_path / "a.vtp").write_bytes(vtp(vertices, faces, "Label", of_vertices))
    one, other = read_mesh(str(tmp_path / "a.ply")), read_mesh(str(tmp_path / "a.vtp"))
    assert one.labels is not None
    assert other.labels is not None
    assert np.abs(one.vertices - other.vertices).max() < 1e-4, "PLY rounds to single precision"
    assert (one.faces == other.faces).all()
    assert (one.labels == other.labels).all()
    assert set(np.unique(other.labels)) == set(np.unique(labels))


@pytest.mark.integration
def test_universal_numbers_of_triangles_and_text_are_read_too() -> None:
    vertices, faces, labels = jaw()
    universal = convert(labels, "fdi", "classes33").labels.astype(np.int32)
    universal[universal == 0] = 33
    mesh = read_native("a.vtp", vtp(vertices, faces, "Universal_ID", universal, text=True), "vtp")
    assert mesh.labels is not None
    assert (mesh.labels == labels).all()
    assert read_native("a.vtp", vtp(vertices, faces, "Region", universal), "vtp").labels is None


@pytest.mark.integration
def test_labels_that_no_tooth_has_are_refused() -> None:
    vertices, faces = box()
    for name, value, found in (
        ("label", 19, "labels [19]"), ("Universal_ID", 34, "labels [34] in Universal_ID"),
        ("fdi", 11.5, f"{len(faces)} values of 'fdi'"),
    ):  # fmt: skip
        with pytest.raises(ConditionError) as caught:
            read_native("a.vtp", vtp(vertices, faces, name, np.full(len(faces), value)), "vtp")
        assert (caught.value.file, caught.value.found) == ("a.vtp", found)


def test_labels_with_several_components_are_refused() -> None:
    vertices, faces = box()
    with pytest.raises(ConditionError) as caught:
        read_native("a.vtp", vtp(vertices, faces, "label", np.full((len(faces), 3), 11.0)), "vtp")
    assert caught.value.file == "a.vtp"
    assert caught.value.found == f"values of 'label' of type float64 and shape ({len(faces)}, 3)"
    assert caught.value.expected == "one number for each triangle or vertex"


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"faces": np.zeros((1, 3))}, "values of faces of type float64 and shape (1, 3)"),
        ({"name": np.array(["a", "b"])}, "values of name of type <U1 and shape (2,)"),
        ({"of_faces": np.array([True, False])}, "values of of_faces of type bool and shape (2,)"),
        ({"other": np.zeros(1)}, "values of other of type float64 and shape (1,)"),
        ({"values": np.zeros(1)}, "the arrays faces, values, vertices"),
    ],
)
def test_arrays_of_other_kinds_or_dimensions_are_refused(
    changed: dict[str, np.ndarray], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = {"vertices": np.eye(3), "faces": np.array([[0, 1, 2]]), **changed}
    monkeypatch.setattr("dentgen.ingest.scans.native_files._run_child", lambda *_: "")
    monkeypatch.setattr("dentgen.ingest.scans.native_files._arrays", lambda _: arrays)
    with pytest.raises(ConditionError) as caught:
        read_native("a.vtp", b"", "vtp")
    assert (caught.value.file, caught.value.found) == ("a.vtp", found)


def test_a_dcm_is_a_mesh_without_labels(tmp_path: Path) -> None:
    vertices, faces = box()
    (tmp_path / "a.dcm").write_bytes(dcm(vertices, faces))
    mesh = read_mesh(str(tmp_path / "a.dcm"))
    assert mesh.labels is None
    assert np.abs(mesh.vertices[mesh.faces] - vertices[faces]).max() < 1e-6


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


@pytest.mark.integration
def test_truncated_and_flipped_files_are_refused_by_name() -> None:
    vertices, faces = box()
    for kind, content in (("vtp", vtp(vertices, faces)), ("dcm", dcm(vertices, faces))):
        inside = content.index(b"Points") + 400 if kind == "vtp" else content.index(b"vertex_count=") + 15
        damaged = [content[: len(content) // 2], content[:-20], b"", flipped(content, inside), flipped(content, 2)]
        for bad in damaged:
            with pytest.raises(ConditionError) as caught:
                read_native(f"x.{kind}", bad, kind)
            assert caught.value.file == f"x.{kind}"
            assert caught.value.expected == f"a complete {kind.upper()} file"
            assert "0x" not in caught.value.found, "the same words every time"
            assert "/tmp" not in caught.value.found


@pytest.mark.parametrize(
    ("body", "limits", "found"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", Limits(), "crashed with signal 11"),
        ("time.sleep(60)", Limits(seconds=1), "no result after 1 s"),
        ("bytearray(4 * 2**30)", Limits(memory=2 * 2**30), "MemoryError"),
        ("os._exit(0)", Limits(), "no result"),
        ("os._exit(7)", Limits(), "exit code 7"),
    ],
)
def test_a_library_that_crashes_hangs_or_grows_is_one_refused_file(
    body: str, limits: Limits, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "open3sdcm.py").write_text(f"import os, signal, time\ndef load(path):\n    {body}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(ConditionError) as caught:
        read_native("x.dcm", b"x", "dcm", limits)
    assert caught.value.file == "x.dcm"
    assert found in caught.value.found


def test_the_child_gets_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = f"open({str(tmp_path / 'names')!r}, 'w').write(' '.join(os.environ))"
    (tmp_path / "open3sdcm.py").write_text(f"import os\ndef load(path):\n    {body}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("HF_TOKEN", "secret")
    with pytest.raises(ConditionError):
        read_native("x.dcm", b"x", "dcm")
    names = set((tmp_path / "names").read_text().split())
    assert {"PATH", "PYTHONPATH"} <= names
    assert names <= {
        "PATH", "PYTHONPATH", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONHOME",
    }  # fmt: skip


def test_neither_the_child_nor_its_file_outlives_a_terminated_parent(tmp_path: Path) -> None:
    started, folder = tmp_path / "started", tmp_path / "tmp"
    folder.mkdir()
    (tmp_path / "open3sdcm.py").write_text(
        "import os, pathlib, time\n"
        "def load(path):\n"
        f"    pathlib.Path({str(started)!r}).write_text(str(os.getpid()) + ' ')\n"
        "    time.sleep(60)\n"
    )
    code = "from dentgen.ingest.scans.native_files import read_native; read_native('x.dcm', b'x', 'dcm')"
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path), str(ROOT)])
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": paths}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as parent:
        wait_until(lambda: started.exists() and started.read_text().endswith(" "))
        assert [path.name for path in folder.glob("*/*")] == ["scan.dcm"]
        parent.terminate()
    child = int(started.read_text())
    wait_until(lambda: not Path(f"/proc/{child}/cmdline").exists() or not Path(f"/proc/{child}/cmdline").read_bytes())
    assert not list(folder.iterdir())


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SpecError) as caught:
        read_native("x.vtp", b"x", "vtp")
    assert caught.value.expected == "vtk: pip install 'dentgen[meshes]'"
