"""The built site: strict, complete, and nothing in it is fetched from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dentgen
from dentgen.spec.build import BuildSpec
from docs.generate.commands import visible_commands
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

#: Tags that make a browser load something.
_LOADS = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=[\"']?(?://|https?://)[^>]*>")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    return out


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        assert _LOADS.findall(page.read_text()) == [], page
    styles = "".join(path.read_text() for path in site.rglob("*.css"))
    assert "fonts.googleapis" not in styles
    for picture in site.rglob("*.svg"):
        assert not re.search(r"url\([\"']?(?://|https?://)", picture.read_text()), picture


def test_every_key_of_the_build_spec_is_shown(site: Path) -> None:
    text = (site / "guide" / "spec" / "index.html").read_text()
    for section, field in BuildSpec.model_fields.items():
        for key in field.annotation.model_fields:  # type: ignore[union-attr]
            assert f"<code>{section}.{key}</code>" in text


def test_every_command_and_public_name_has_an_anchor(site: Path) -> None:
    text = (site / "reference" / "commands" / "index.html").read_text()
    for command in visible_commands():
        assert f'id="{command.name.replace(" ", "-").lower()}"' in text
    text = (site / "reference" / "python" / "index.html").read_text()
    for name in dentgen.__all__:
        assert f'id="dentgen.{name}"' in text


def test_no_mark_is_left(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert not re.search(r"<!-- (include|build-spec|document|commands|classes|fdi)", page.read_text()), page


def test_the_tutorial_shows_its_pictures(site: Path) -> None:
    text = (site / "tutorial" / "index.html").read_text()
    pictures = re.findall(r'<img[^>]*src="([^"]+)"', text)
    assert len(pictures) >= 4
    assert all((site / "tutorial" / picture).resolve().is_file() for picture in pictures if picture)
