"""A bundle in pieces that fit through a narrow transfer, and put together again."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Final

from dentgen.errors import BundleError

#: Largest piece, bytes.
PIECE_BYTES: Final = 15 * 2**20
_NAME: Final = "bundle.tar.{:02d}"
_DIGEST: Final = "bundle.sha256"


def write_pieces(bundle: Path, out: Path, limit: int = PIECE_BYTES) -> list[Path]:
    """Write a bundle's files as the pieces of one tar, with a digest of the whole; nothing for a missing bundle."""
    if not bundle.is_dir():
        return []
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for file in sorted(path for path in bundle.rglob("*") if path.is_file()):
            archive.add(file, str(file.relative_to(bundle)), filter=_without_owner)
    content = buffer.getvalue()
    pieces = [out / _NAME.format(number) for number in range(-(-len(content) // limit))]
    for number, piece in enumerate(pieces):
        piece.write_bytes(content[number * limit : (number + 1) * limit])
    (out / _DIGEST).write_text(hashlib.sha256(content).hexdigest() + "\n")
    return pieces


def join_pieces(folder: Path, bundle: Path) -> None:
    """Unpack the pieces of a bundle into a new folder.

    Raises:
        BundleError: If a piece is missing or damaged, or the folder exists.
    """
    if bundle.exists():
        raise BundleError(file=str(bundle), found="a folder", expected="none yet")
    content = b"".join(piece.read_bytes() for piece in sorted(folder.glob("bundle.tar.*")))
    found, expected = hashlib.sha256(content).hexdigest(), (folder / _DIGEST).read_text().strip()
    if found != expected:
        raise BundleError(file=str(folder), found=f"pieces with digest {found}", expected=expected)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(bundle, filter="data")


def _without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
