"""Bundles in pieces: the same files come out, and damage is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.errors import BundleError
from dentgen.models.pieces import join_pieces, write_pieces


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "weights.safetensors").write_bytes(bytes(range(256)) * 40)
    (folder / "README.md").write_text("card")
    return folder


def test_what_was_cut_comes_together_again(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    pieces = write_pieces(bundle, out, limit=5000)
    assert len(pieces) > 1
    assert all(piece.stat().st_size <= 5000 for piece in pieces)
    join_pieces(out, tmp_path / "again")
    for file in ("unet/weights.safetensors", "README.md"):
        assert (tmp_path / "again" / file).read_bytes() == (bundle / file).read_bytes()


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_damaged_pieces_are_refused(bundle: Path, tmp_path: Path, damage: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    piece = write_pieces(bundle, out, limit=5000)[1]
    piece.unlink() if damage == "missing" else piece.write_bytes(b"\0" * piece.stat().st_size)
    with pytest.raises(BundleError) as caught:
        join_pieces(out, tmp_path / "again")
    assert caught.value.expected == (out / "bundle.sha256").read_text().strip()
    assert not (tmp_path / "again").exists()


def test_an_existing_folder_is_kept(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        join_pieces(tmp_path, bundle)
    assert (bundle / "README.md").read_text() == "card"


def test_a_missing_bundle_gives_no_piece(tmp_path: Path) -> None:
    assert write_pieces(tmp_path / "none", tmp_path) == []
