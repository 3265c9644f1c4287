"""Pages in a real browser: headless Chromium runs a script of the test after the page's own."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.report.html.parsed_page import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


def after(html: str, script: str, folder: Path) -> Page:
    """The page as the browser shows it after a script; the page's content security policy stays in force.

    Args:
        html: The page.
        script: JavaScript, which the policy is made to allow beside the page's own.
        folder: Where the browser may write.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = html.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    page = folder / "page.html"
    page.write_text(allowed.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={folder / 'profile'}", "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True, env={**os.environ, "HOME": str(folder)}
    )
    return Page(run.stdout)
