"""The tutorial notebook: executed without Jupyter, and shown as a Markdown page with its pictures.

``python -m docs.generate.notebook docs/tutorial.ipynb`` runs it in a temporary folder and stores the outputs in it.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

Cell = dict[str, Any]

_SHELL_LINE: Final = re.compile(r"^!(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class NotebookPage:
    """Markdown, and the pictures that it shows by their path beside the page."""

    markdown: str
    pictures: dict[str, bytes]


def notebook_page(notebook: Path) -> NotebookPage:
    """Convert a notebook with the outputs that are stored in it."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in json.loads(notebook.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{notebook.stem}/output-{len(pictures)}.png"
                pictures[name] = base64.b64decode("".join(data["image/png"]))
                parts.append(f"![Output of the cell above]({name}){{ .output }}")
            elif text := "".join(output.get("text", data.get("text/plain", ""))).rstrip():
                parts.append(f"```text\n{text}\n```")
    return NotebookPage("\n\n".join(parts) + "\n", pictures)


def executed(document: dict[str, Any]) -> Iterator[Cell]:
    """Execute a notebook's code cells in this process and folder, and yield every cell with its outputs."""
    namespace: dict[str, Any] = {"__name__": "__main__", "_shell": _shell}
    count = 0
    for cell in document["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            yield {**cell, "execution_count": count, "outputs": _execute("".join(cell["source"]), namespace, count)}
        else:
            yield cell


def _execute(source: str, namespace: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Run one cell; its outputs are what it prints and the value of its last expression."""
    tree = ast.parse(_SHELL_LINE.sub(lambda line: f"_shell({line[1]!r})", source))
    last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None  # type: ignore[attr-defined]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), namespace)  # noqa: S102 - it is our own notebook
        value = None if last is None else eval(compile(last, "<cell>", "eval"), namespace)  # noqa: S307
    outputs: list[dict[str, Any]] = []
    if text := printed.getvalue():
        outputs.append({"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)})
    if value is not None:
        outputs.append(
            {"data": _data(value), "execution_count": count, "metadata": {}, "output_type": "execute_result"}
        )
    return outputs


def _data(value: Any) -> dict[str, Any]:
    if not hasattr(value, "_repr_png_"):
        return {"text/plain": [repr(value)]}
    shown = f"<{type(value).__name__}>"  # without the address in memory, which differs every time
    return {"image/png": base64.b64encode(value._repr_png_()).decode(), "text/plain": [shown]}


def _shell(command: str) -> None:
    """Run a line that begins with "!", with the commands of this environment, and print what it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(  # noqa: S602 - it is our own notebook
        command, shell=True, capture_output=True, text=True, env={**os.environ, "PATH": path}, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command}: exit code {done.returncode}\n{done.stderr}")
    sys.stdout.write(done.stdout)


def main() -> None:
    """Execute the notebook that the command line names, and store its outputs."""
    notebook = Path(sys.argv[1]).resolve()
    document = json.loads(notebook.read_text())
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        cells = list(executed(document))
    notebook.write_text(json.dumps({**document, "cells": cells}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
