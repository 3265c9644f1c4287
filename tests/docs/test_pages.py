"""Every page: commands parse, overrides and specs are valid, Python runs, files exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dentgen.models.bundle import find_bundle
from dentgen.phantom.surroundings.mix import read_mix
from dentgen.shards import layout
from dentgen.spec.build import BuildSpec
from dentgen.spec.train import RECIPES, read_train_spec
from dentgen.spec.yaml_file import read_spec
from docs.generate.commands import visible_commands
from tests.conftest import ROOT
from tests.docs.commands import DOCS, PAGES, blocks, dentgen_words, page_name, parse, shell_commands
from tests.faults.test_mutations import FAULTS

every_page = pytest.mark.parametrize("page", PAGES, ids=page_name)


#: Programs of others that pages call.
_FOREIGN = (
    "source .venv/bin/activate",
    "python3 -m venv ",
    "python3 -m pip install ",
    ".venv/bin/pip install ",
    "openssl ",
    "pip install nnunetv2",
    "export nnUNet_raw=",
    "nnUNetv2_",
    "docker build -f cluster/Dockerfile ",
    "docker push ",
    "kubectl ",
    "helm install ",
    "aws ",
    "curl --get http://127.0.0.1:9090/",
    "ray get-auth-token ",
    "ray up ",
    "ray dashboard ",
    "ray down ",
)


@every_page
def test_commands_parse(page: Path) -> None:
    for line in shell_commands(page):
        words = dentgen_words(line)
        if words is not None:
            parse(words)
        elif line.startswith("make "):
            targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
            assert line.split()[1] in targets, line
        elif line.startswith("python -m "):
            assert (ROOT / f"{line.split()[2].replace('.', '/')}.py").exists(), line
        else:
            assert line.startswith(_FOREIGN), line


@every_page
def test_overrides_are_valid(page: Path) -> None:
    for line in shell_commands(page):
        command = parse(words) if (words := dentgen_words(line)) else None
        if command is None or "set_" not in command.values:
            continue
        spec = command.values.get("spec")
        file = ROOT / (spec if spec and (ROOT / spec).exists() else "jobs/specs/demo.yaml")
        (read_train_spec if command.name == "train" else read_spec)(file, command.overrides)


@every_page
def test_specs_are_valid(page: Path, tmp_path: Path) -> None:
    for block in blocks(page, "yaml"):
        values = yaml.safe_load(block)
        (tmp_path / "spec.yaml").write_text(block)
        read = read_train_spec if "recipe" in values else read_mix if "framings" in values else read_spec
        read(str(tmp_path / "spec.yaml"))


@every_page
def test_files_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text()
    for name in re.findall(r"`((?:dentgen|jobs|schemas|tests|cluster|docs)/[\w./-]+)`", text):
        assert (ROOT / name).exists() or "NAME" in name, name


@every_page
def test_tests_that_a_page_names_exist(page: Path) -> None:
    """``FILE::TEST``, and ``::TEST`` for another one in the same file."""
    file = ""
    for name, test in re.findall(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`", page.read_text()):
        file = name or file
        if test:
            assert f"def {test}(" in (ROOT / file).read_text(), f"{file}::{test}"


@pytest.mark.integration
def test_code_of_the_page_on_conditions_gives_what_its_comments_say(in_examples: Path) -> None:
    names: dict[str, object] = {}
    for block in blocks(DOCS / "guide" / "conditions.md", "python"):
        exec(block, names)
    assert names["seg"].tolist() == [[0] * 4, [2] * 4, [2] * 4, [0] * 4]  # type: ignore[attr-defined]
    assert names["fdi"].tolist() == [[0, 18, 11], [21, 41, 48]]  # type: ignore[attr-defined]


@pytest.mark.integration
def test_code_of_the_page_on_sampling_runs(in_examples: Path) -> None:
    names: dict[str, Any] = {}
    for block in blocks(DOCS / "guide" / "sampling.md", "python"):
        exec(block, names)
    assert [picture.shape for picture in names["pictures"]] == [(256, 256, 3)] * 8
    frame = names["frame"]
    assert frame.last_version >= 2, "the layer was added, and its mask was edited"
    assert frame.masks["gum"][128:].all()


def test_code_of_the_page_on_curation_runs(in_examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for block in blocks(DOCS / "guide" / "curation.md", "python"):
        exec(block, {})
    assert capsys.readouterr().out == "", "the demo has no copies"


@pytest.mark.integration
def test_code_of_the_page_on_datasets_runs(examples: Path, tmp_path: Path) -> None:
    """In a process of its own, because Hugging Face's library reads its settings when it is imported."""
    found = blocks(DOCS / "guide" / "datasets.md", "python")
    assert len(found) >= 5
    checks = "assert len(boxes) == len(metadata['teeth']) > 0 and len(samples) == 12, (boxes, metadata, samples)"
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", "\n".join([*found, checks])],
        cwd=examples, env={**os.environ, **offline}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]


def test_python_that_no_test_runs_is_on_no_page() -> None:
    pages = {page_name(page) for page in PAGES if blocks(page, "python")}
    guide = {f"docs/guide/{name}.md" for name in ("conditions", "curation", "datasets", "sampling")}
    assert pages == {"README.md", "docs/quickstart.md", *guide}


def test_every_key_of_the_build_spec_is_in_the_guide() -> None:
    marks = re.findall(r"<!-- build-spec: (\w+) -->", (DOCS / "guide" / "spec.md").read_text())
    assert marks == list(BuildSpec.model_fields)


def test_every_recipe_is_in_the_guide() -> None:
    text = (DOCS / "guide" / "training.md").read_text()
    assert [recipe for recipe in RECIPES if f"`{recipe}`" not in text] == []
    specs = {page_name(path) for path in (ROOT / "jobs" / "specs").glob("train-*.yaml")}
    assert specs == {name for name in specs if name in text}


def test_every_command_is_used_in_the_guide() -> None:
    lines = [line for page in (DOCS / "guide").glob("*.md") for line in shell_commands(page)]
    used = {parse(words).name for line in lines if (words := dentgen_words(line)) is not None}
    assert {command.name.removeprefix("dentgen ") for command in visible_commands()} <= used


def test_every_file_of_a_build_is_in_the_reference() -> None:
    text = (DOCS / "reference" / "output.md").read_text()
    names = [*layout.TOP, layout.SOURCE_INDEX, layout.plan_head(), layout.plan_units(), layout.shard("000000")]
    assert [name for name in [*names, layout.ledger("000000")] if f"OUT/{name}" not in text] == []


@pytest.mark.parametrize("heading", ["| figure | second edition", "| figure, U-Net / dilated net |"])
def test_figures_are_those_of_the_model_card(heading: str) -> None:
    card = (ROOT / "dentgen" / "models" / "miniature" / "README.md").read_text().splitlines()
    results = (DOCS / "results.md").read_text().splitlines()
    begin = next(number for number, line in enumerate(card) if line.startswith(heading))
    table = card[begin : card.index("", begin)]
    assert len(table) > 5
    begin = results.index(table[0])
    assert results[begin : begin + len(table)] == table


def test_there_are_as_many_planted_faults_as_promised() -> None:
    promised = re.search(r"on purpose in more than (\d+) places", (DOCS / "how" / "promises.md").read_text())
    assert promised is not None
    assert len(FAULTS) > int(promised[1])


@pytest.mark.long
def test_the_training_commands_of_the_guide_make_a_bundle(tmp_path: Path) -> None:
    """And every spec that ships, for two steps on ten jaws."""
    (tmp_path / "jobs").symlink_to(ROOT / "jobs")
    commands = shell_commands(DOCS / "guide" / "training.md")
    begin = next(i for i, command in enumerate(commands) if command.startswith("dentgen phantom work/phantoms"))
    render = commands[begin].replace("--count 3000", "--count 10")
    _run(render.split()[1:], tmp_path)
    training = [command.split()[1:] for command in commands[begin:] if command.startswith("dentgen train ")]
    shown = {words[1] for words in training}
    loose = "--least-miou 0 --least-identity -1 --least-agreement 0 --least-light-correlation -1 --least-distinct 0"
    drawn = f"pairs work/phantoms work/pairs --count 10 --lights 2 --layout shared {loose} --least-light-difference 0"
    _run(drawn.split(), tmp_path)
    others = sorted(page_name(path) for path in (ROOT / "jobs" / "specs").glob("train-*.yaml"))
    training += [["train", spec] for spec in others if spec not in shown]
    for place in ("my-clinic", "work/look", "work/train/conditions"):  # a user's own pictures
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).symlink_to(tmp_path / "work" / "phantoms")
    shutil.copytree(find_bundle("miniature"), tmp_path / "work" / "train" / "small")
    short = (
        "steps=2", "batch=2", "conditions.size=128", "validate_steps=1", "validate_split=null", "validate_records=1",
        "source.split=null",
    )  # fmt: skip
    for words in training:
        cropped = ("crop=64",) if words[1].endswith("train-autoencoder.yaml") else ()
        _run([*words, *(option for value in (*short, *cropped) for option in ("--set", value))], tmp_path)
    bundle = tmp_path / "work" / "miniature"
    assert {"blended", "normal", "segmentation"} <= {path.name for path in (bundle / "adapters").iterdir()}
    for part in ("tiny_decoder", "loras/lcm", "controlnets/blended"):
        assert any((bundle / part).glob("*.safetensors")), part
    assert len(list((tmp_path / "work" / "train" / "adapter" / "previews").iterdir())) == 2
    _run(["models", "verify", str(bundle)], tmp_path)


def _run(words: list[str], folder: Path) -> None:
    command = [sys.executable, "-m", "dentgen", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, (command, done.stderr[-2000:])
