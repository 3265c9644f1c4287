"""Fills the generated parts of the site in: ``<!-- build-spec: sampling -->`` becomes the table of these keys."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]
if str(ROOT) not in sys.path:  # the command mkdocs does not see the repository, python -m mkdocs does
    sys.path.insert(0, str(ROOT))

from docs.generate import commands, includes, labels, notebook, tables  # noqa: E402

_MARK: Final = re.compile(r"^<!-- ([a-z-]+)(?:: ([\w./-]+))? -->$", re.MULTILINE)
_WITHOUT_ARGUMENT: Final[dict[str, Callable[[], str]]] = {
    "commands": commands.command_reference,
    "training-spec": tables.training_spec_tables,
    "classes": labels.class_table,
    "fdi": labels.fdi_charts,
    "sample-columns": tables.sample_columns,
    "errors": tables.error_tree,
}
_WITH_ARGUMENT: Final[dict[str, Callable[[str], str]]] = {
    "build-spec": tables.build_spec_table,
    "document": tables.document_table,
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the tutorial as a page, and pictures that are not in docs/."""
    for source, place in includes.PICTURES.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    tutorial = notebook.notebook_page(ROOT / "docs" / "tutorial.ipynb")
    files.append(File.generated(config, "tutorial.md", content=tutorial.markdown))
    for name, content in tutorial.pictures.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace the marks of a page."""
    del config, files
    return _MARK.sub(lambda mark: generated(mark[1], mark[2] or "", page.file.src_uri), markdown)


def generated(kind: str, argument: str, page: str) -> str:
    """What a mark stands for.

    Raises:
        PluginError: If there is no such mark.
    """
    if kind == "include":
        return includes.included(argument, page)
    found: Any = _WITH_ARGUMENT.get(kind) if argument else _WITHOUT_ARGUMENT.get(kind)
    if found is None:
        raise PluginError(f"{page}: found the mark {kind!r}, expected one of {[*_WITH_ARGUMENT, *_WITHOUT_ARGUMENT]}")
    text: str = found(argument) if argument else found()
    return text
