"""The process of the studio: it says its address, serves it, and ends at Ctrl-C with exit code 0 and nothing left."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from dentgen.cli.studio_run import run_studio, studio_spec
from dentgen.errors import SpecError
from dentgen.spec.build import BuildSpec
from tests.conftest import DEMO, JAWS, ROOT


def test_the_demo_is_the_default() -> None:
    spec, place = studio_spec(None, None, None)
    assert (spec.model.bundle, Path(place)) == ("miniature", DEMO)


def test_a_spec_that_names_no_source_opens_a_mouth(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text("sampling: {steps: 2}\n")
    assert studio_spec(file, None, None)[1] == ""
    assert studio_spec(file, ["source.path=a/"], None)[1] == "a/"
    assert studio_spec(file, ["source.path=a/"], "b/")[1] == "b/"


def test_a_spec_that_no_live_canvas_follows_is_refused_before_models_are_loaded(tmp_path: Path) -> None:
    spec = BuildSpec.model_validate({"source": {"path": "x/"}, "sampling": {"noise": "series"}})
    with pytest.raises(SpecError) as caught:
        run_studio(
            spec.model_copy(update={"model": spec.model.model_copy(update={"bundle": "none/"})}), "", tmp_path,
            host="127.0.0.1", port=0, browser=False, token=True,
        )  # fmt: skip
    assert (caught.value.key, caught.value.found) == ("sampling.noise", "series")


@pytest.mark.slow
def test_it_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dentgen", "studio", "--no-browser", "--save", str(tmp_path / "saved")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = re.fullmatch(r"studio: (http://127\.0\.0\.1:\d+/\?token=\S{20,})\n", process.stdout.readline())
        assert address is not None
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(address[1], timeout=60) as page:
            assert b"dentgen studio" in page.read()
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(address[1].partition("?")[0], timeout=60)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SpecError) as caught:
            run_studio(BuildSpec(), str(JAWS), tmp_path, host="127.0.0.1", port=port, browser=False, token=True)
    assert (caught.value.key, caught.value.found) == ("--host, --port", f"127.0.0.1:{port}")
