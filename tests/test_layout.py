"""The repository keeps its own rules: mirrored tests, exported schemas, light imports, commands that exist."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from dentgen.cli.schemas import schema_documents
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import read_spec
from tests.conftest import ROOT


def test_tests_mirror_the_package() -> None:
    """But for ``faults``, whose inputs go through readers of the whole package."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        folder = path.parent.relative_to(ROOT / "tests")
        if folder == Path("faults"):
            continue
        assert (ROOT / "dentgen" / folder).is_dir(), f"{path} mirrors nothing"


def test_exported_schemas_are_current() -> None:
    """One source of truth: the Python types. 'make schemas' exports them again."""
    documents = {name: json.loads(json.dumps(document)) for name, document in schema_documents().items()}
    on_disk = {path.name: json.loads(path.read_text()) for path in (ROOT / "schemas").glob("*.json")}
    assert on_disk == documents


def test_schemas_accept_what_they_describe() -> None:
    schema = schema_documents()["build-spec.schema.json"]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(BuildSpec().model_dump(mode="json"), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"sampling": {"stpes": 4}}, schema)


def test_every_key_of_the_spec_is_described() -> None:
    for name, section in BuildSpec.model_fields.items():
        for key, field in section.annotation.model_fields.items():  # type: ignore[union-attr]
            assert field.description, f"{name}.{key}"


def test_specs_that_ship_are_valid() -> None:
    for path in sorted((ROOT / "jobs" / "specs").glob("*.yaml")):
        if not path.name.startswith("train-"):
            read_spec(path)


def test_light_commands_do_not_wait_for_torch() -> None:
    modules = ("cli.app", "spec.build", "storage", "shards.plan_file", "shards.ledger", "shards.verify", "shards.gc")
    imports = ", ".join(f"dentgen.{module}" for module in modules)
    code = f"import sys, {imports}; print('torch' in sys.modules, 'ray' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.split() == ["False", "False"]


def test_commit_tasks_do_not_wait_for_torch() -> None:
    """Their processes start beside the busy actors; seconds of imports would hold up the first commits."""
    code = "import sys, dentgen.pipeline.actors.commit_stage; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.split() == ["False"]


def test_public_names_exist() -> None:
    import dentgen

    assert all(getattr(dentgen, name) is not None for name in dentgen.__all__)


def test_modules_open_with_what_they_hold() -> None:
    for path in (ROOT / "dentgen").rglob("*.py"):
        assert path.read_text().lstrip().startswith('"""'), path


def readme_commands() -> list[str]:
    """Every command line in the README's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def test_make_targets_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    wanted = {command.split()[1] for command in readme_commands() if command.startswith("make ")}
    assert {"demo", "test"} <= wanted <= targets


def test_files_that_the_readme_names_exist() -> None:
    for name in re.findall(r"`((?:dentgen|jobs|schemas|tests|cluster)/[\w./-]+)`", (ROOT / "README.md").read_text()):
        assert (ROOT / name).exists(), name


def test_example_specs_of_the_readme_are_valid(tmp_path: Path) -> None:
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)):
        assert yaml.safe_load(block)
        (tmp_path / f"{number}.yaml").write_text(block)
        read_spec(tmp_path / f"{number}.yaml")
