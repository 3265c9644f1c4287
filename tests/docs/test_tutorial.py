"""The tutorial: a valid notebook whose stored outputs are what its cells print."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from docs.generate.notebook import executed, notebook_page
from tests.conftest import ROOT
from tests.docs.commands import dentgen_words, parse

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"


def printed(notebook: Path) -> list[str]:
    """Lines that the code cells print."""
    cells = json.loads(notebook.read_text())["cells"]
    texts = [output["text"] for cell in cells for output in cell.get("outputs", []) if "text" in output]
    return "".join(line for text in texts for line in text).splitlines()


def losses(lines: list[str]) -> list[float]:
    return [float(found[1]) for line in lines if (found := re.search(r"loss ([\d.]+)", line))]


@pytest.mark.slow
def test_the_tutorial_runs_and_prints_what_is_stored(tmp_path: Path) -> None:
    copy = tmp_path / "tutorial.ipynb"
    copy.write_bytes(NOTEBOOK.read_bytes())
    run = subprocess.run(
        [sys.executable, "-m", "docs.generate.notebook", str(copy)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    here, stored = printed(copy), printed(NOTEBOOK)
    assert [re.sub(r"loss .*", "", line) for line in here] == [re.sub(r"loss .*", "", line) for line in stored]
    assert losses(here)[-1] < 0.9 * losses(here)[0], "the segmenter learns"


def test_every_code_cell_was_executed_in_order() -> None:
    document = json.loads(NOTEBOOK.read_text())
    assert document["nbformat"] == 4
    cells = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell["outputs"] for cell in cells)
    assert len({cell["id"] for cell in document["cells"]}) == len(document["cells"])


def test_shell_lines_of_the_tutorial_are_commands() -> None:
    sources = ["".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text())["cells"]]
    lines = [line[1:] for source in sources for line in source.splitlines() if line.startswith("!")]
    assert len(lines) == 2
    for line in lines:
        words = dentgen_words(line)
        assert words is not None
        parse(words)


def notebook(*sources: str) -> dict[str, Any]:
    return {"cells": [{"cell_type": "code", "source": source, "outputs": []} for source in sources]}


def test_cells_share_names_print_and_show_their_last_expression() -> None:
    cells = list(executed(notebook("x = 2\nprint('first')", "!echo shell\nx * 21")))
    first, second = (cell["outputs"] for cell in cells)
    assert [output["text"] for output in first] == [["first\n"]]
    assert second[0]["text"] == ["shell\n"]
    assert second[1]["data"] == {"text/plain": ["42"]}


def test_images_are_stored_as_png() -> None:
    (cell,) = executed(notebook("from PIL import Image\nImage.new('RGB', (3, 2))"))
    data = cell["outputs"][0]["data"]
    assert data["image/png"].startswith("iVBORw0KGgo")
    assert "0x" not in data["text/plain"][0], "an address would differ every time"


def test_failures_end_the_execution() -> None:
    with pytest.raises(ZeroDivisionError):
        list(executed(notebook("1 / 0")))
    with pytest.raises(RuntimeError):
        list(executed(notebook("!false")))


def test_a_page_has_sources_text_and_pictures(tmp_path: Path) -> None:
    cells = list(executed(notebook("print('hello')", "from PIL import Image\nImage.new('L', (2, 2))")))
    document = {"cells": [{"cell_type": "markdown", "source": ["# Title\n"]}, *cells]}
    (tmp_path / "small.ipynb").write_text(json.dumps(document))
    page = notebook_page(tmp_path / "small.ipynb")
    assert page.markdown.startswith("# Title")
    assert "```text\nhello\n```" in page.markdown
    ((name, content),) = page.pictures.items()
    assert f"]({name})" in page.markdown
    assert content.startswith(b"\x89PNG")
