"""Pages that live beside the code or at the top of the repository, shown in the site with their links adjusted."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
#: Page of the site that shows a file of the repository.
PAGES: Final = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
    "cluster/README.md": "guide/cluster.md",
    "dentgen/diffusion/README.md": "how/engine.md",
    "dentgen/models/miniature/README.md": "how/miniature.md",
    "dentgen/phantom/README.md": "how/phantoms.md",
    "dentgen/shards/README.md": "how/promises.md",
    "dentgen/training/README.md": "how/training.md",
}
#: Pictures outside docs/ that included pages show, and their place in the site.
PICTURES: Final = {"dentgen/diffusion/slots.svg": "pictures/slots.svg"}
_FRONT_MATTER: Final = re.compile(r"\A---\n.*?\n---\n+", re.DOTALL)
_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def included(path: str, page: str) -> str:
    """Text of a repository file for a page of the site.

    Args:
        path: The file, relative to the repository.
        page: The page that shows it, relative to docs/.
    """
    text = _FRONT_MATTER.sub("", (ROOT / path).read_text())
    folder = posixpath.dirname(path)
    return _LINK.sub(lambda link: _adjusted(link, folder, page), text)


def _adjusted(link: re.Match[str], folder: str, page: str) -> str:
    """A link of the site for a link of the repository; what the site does not have keeps its text alone."""
    picture, text, target = link.groups()
    if "://" in target or target.startswith("#"):
        return link[0]
    file, mark, anchor = target.partition("#")
    name = posixpath.normpath(posixpath.join(folder, file))
    place = PAGES.get(name) or PICTURES.get(name) or (name.removeprefix("docs/") if name.startswith("docs/") else None)
    if place is None:
        return text if text.startswith("`") else f"{text} (`{name}`)"
    return f"{picture}[{text}]({posixpath.relpath(place, posixpath.dirname(page) or '.')}{mark}{anchor})"
