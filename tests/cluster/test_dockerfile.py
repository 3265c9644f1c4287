"""The image: pinned, without root and secrets, and its steps make an environment in which both programs run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cluster.dockerfile import DOCKERFILE, Stage, ignore_patterns, ignored, stages
from tests.cluster.kustomize import KUBERAY, load
from tests.conftest import ROOT

TORCH = version("torch")
LEFT_OUT = (".git/config", ".venv/bin/python", "out/demo/index.json", "tests/conftest.py", ".env", "work/x",
            "dentgen/cli/__pycache__/app.cpython-311.pyc", "cluster/Dockerfile",
            "jobs/specs/train-base.yaml")  # fmt: skip
NEEDED = ("dentgen/models/miniature/model_index.json", "jobs/demo/000000.tar", "cluster/kuberay/base/rayjob.yaml")


@pytest.fixture(scope="module")
def build() -> Stage:
    """The stage that installs."""
    return stages()[1][0]


@pytest.fixture(scope="module")
def image() -> Stage:
    """The stage that becomes the image."""
    return stages()[1][-1]


def test_both_stages_have_one_base_with_cuda_by_argument() -> None:
    arguments, found = stages()
    assert [stage.base for stage in found] == ["${BASE} AS build", "${BASE}"]
    assert re.fullmatch(r"nvidia/cuda:\d+\.\d+\.\d+-base-ubuntu\d+\.\d+", arguments["BASE"]), "a tag that does not move"


def test_every_installation_is_pinned(build: Stage) -> None:
    installations = [value for value in build.values("RUN") if "pip install" in value]
    assert len(installations) == 2
    for value in installations:
        assert "-c constraints.txt" in value
        assert "--no-cache-dir" in value
        assert "$PIP_OPTIONS" in value, "the index is the builder's choice"
    assert build.arguments["TORCH"] == "torch"
    assert "torch" in {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}


def test_it_does_not_run_as_root(image: Stage) -> None:
    assert image.values("USER") == ["10001"]
    assert any("--uid 10001" in value and value.endswith(" ray") for value in image.values("RUN"))
    (job,) = load(KUBERAY / "base" / "rayjob.yaml")
    pod = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["securityContext"]
    assert pod["runAsUser"] == 10001
    order = [name for name, _ in image.steps]
    assert "RUN" not in order[order.index("USER") :], "nothing is installed by that user"


def test_it_is_a_batch_image_for_any_of_its_programs(image: Stage) -> None:
    assert image.values("HEALTHCHECK") == []
    assert image.values("EXPOSE") == []
    assert image.values("ENTRYPOINT") == ["[]"]
    assert image.values("CMD") == ['["dentgen", "--help"]']
    (links,) = [value for value in image.values("RUN") if "ln -s" in value]
    assert {"${VENV}/bin/dentgen", "${VENV}/bin/ray", "${VENV}/bin/python", "/usr/local/bin/"} <= set(links.split())


def test_kuberays_probes_find_their_programs(image: Stage) -> None:
    installed = next(value for value in image.values("RUN") if "apt-get install" in value).split()
    assert {"bash", "wget"} <= set(installed)


def test_no_secret_is_in_it() -> None:
    _, found = stages()
    names = {name for stage in found for name in stage.arguments}
    assert names == {"VENV", "PIP_OPTIONS", "TORCH", "EXTRAS"}
    assert [value for stage in found for value in stage.values("ADD")] == [], "nothing is fetched by address"
    assert not re.search(r"token|password|secret|AKIA", DOCKERFILE.read_text(), re.IGNORECASE)


def test_packages_of_the_system_leave_no_lists_behind() -> None:
    for stage in stages()[1]:
        for value in stage.values("RUN"):
            if "apt-get install" in value:
                assert "--no-install-recommends" in value
                assert value.rstrip().endswith("rm -rf /var/lib/apt/lists/*")


def test_the_context_holds_what_is_copied_and_nothing_else(build: Stage) -> None:
    patterns = ignore_patterns()
    for source in copied(build):
        assert (ROOT / source).exists()
        assert not ignored(source, patterns), source
    for name in LEFT_OUT:
        assert ignored(name, patterns), name
    for name in NEEDED:
        assert not ignored(name, patterns), name


def copied(stage: Stage) -> list[str]:
    """What a stage copies from the context."""
    return [word for value in stage.values("COPY") if "--from" not in value for word in value.split()[:-1]]


@pytest.mark.slow
@pytest.mark.skipif("+cpu" not in TORCH, reason="torch with CUDA would be downloaded")
def test_its_steps_make_an_environment_with_both_programs(build: Stage, image: Stage, tmp_path: Path) -> None:
    """All but those of the system's packages and users, in folders of this machine."""
    source, venv, links = tmp_path / "src", tmp_path / "opt" / "dentgen", tmp_path / "bin"
    links.mkdir()
    arguments = {**build.arguments, "VENV": str(venv), "TORCH": f"torch=={TORCH}"}
    for name, value in build.steps:
        if name == "WORKDIR":
            source.mkdir()
        elif name == "COPY":
            copy(value.split(), source)
        elif name == "RUN" and "apt-get" not in value:
            shell(value, source, arguments)
    (link,) = [value for value in image.values("RUN") if "ln -s" in value]
    shell(link.replace("/usr/local/bin/", f"{links}/"), source, arguments)
    shutil.rmtree(source)  # the image has the environment alone
    out = tmp_path / "home"
    out.mkdir()
    bare = {"PATH": f"{links}:/usr/bin:/bin", "HOME": str(out)}
    assert shell("dentgen --version", out, bare).startswith("dentgen ")
    assert shell("ray --version", out, bare).strip().endswith("version 2.60.0")
    spec = "jobs.yaml"
    (out / spec).write_text("source: {path: s3://b/c}\noutput: {path: s3://b/d}\n")
    rendered = shell(f"dentgen cluster render {spec} --image dentgen:7 --kind cronjob --schedule @daily", out, bare)
    assert "kind: CronJob" in rendered
    printed = shell("dentgen generate demo --no-ray --limit 1 --set output.path=out", out, bare)
    assert "4 samples written, 0 rejected" in printed


def copy(words: list[str], to: Path) -> None:
    """What COPY does: files into a folder, or the content of a folder; without what the context lacks."""
    *sources, target = words
    patterns = ignore_patterns()
    for name in sources:
        path, place = ROOT / name, to / target
        if path.is_dir():
            shutil.copytree(path, place, ignore=lambda folder, names: [
                entry for entry in names if ignored(str((Path(folder) / entry).relative_to(ROOT)), patterns)
            ])  # fmt: skip
        else:
            place = place / path.name if target.endswith("/") else place
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)


def shell(command: str, folder: Path, environment: dict[str, str]) -> str:
    """Run a step as a container's shell does; what it prints."""
    inherited = {name: value for name, value in os.environ.items() if name.startswith(("PIP_CONFIG", "SSL_", "HTTP"))}
    base = {**inherited, "PATH": f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin", "HOME": str(Path.home())}
    run = subprocess.run(
        ["/bin/sh", "-c", command], cwd=folder, env={**base, **environment}, capture_output=True, text=True,
        timeout=3000, check=False,
    )  # fmt: skip
    assert run.returncode == 0, (shlex.join([command]), run.stdout[-2000:], run.stderr[-3000:])
    return run.stdout
