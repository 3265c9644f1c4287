"""The repository keeps its own rules: mirrored tests, current schemas, light imports, one home for every name."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, get_args

import jsonschema
import pytest

from dentgen.cli.schemas import schema_documents
from dentgen.shards import layout
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import read_spec
from tests.conftest import FAST, ROOT

TESTS: Final = ROOT / "tests"
#: Whole builds, planted faults, the jobs, the files in cluster/ and the documentation: they exercise no single module.
SUITES: Final = {"builds", "faults", "jobs", "cluster", "docs"}


def modules() -> Iterator[Path]:
    """Modules of the package that define something, relative to it."""
    for path in sorted((ROOT / "dentgen").rglob("*.py")):
        if path.name not in {"__init__.py", "__main__.py"}:
            yield path.relative_to(ROOT / "dentgen")


def test_every_module_has_its_test_file() -> None:
    missing = [str(path) for path in modules() if not (TESTS / path.parent / f"test_{path.name}").exists()]
    assert missing == []


def test_every_test_file_names_its_module() -> None:
    known = {path.parent / f"test_{path.name}" for path in modules()} | {Path("test_layout.py")}
    files = {path.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    assert {str(path) for path in files - known if path.parts[0] not in SUITES} == set()


def test_fast_tests_are_collected_by_their_command() -> None:
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    (listed,) = [line for line in makefile.splitlines() if line.startswith("FAST := ")]
    assert set(listed.split()[2:]) == FAST


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


def test_every_key_of_the_build_spec_is_described() -> None:
    for name, section in BuildSpec.model_fields.items():
        one = next(iter(get_args(section.annotation)), section.annotation)  # of a list of sections
        for key, field in one.model_fields.items():  # type: ignore[union-attr]
            assert field.description, f"{name}.{key}"


def test_build_specs_that_ship_are_valid() -> None:
    for path in sorted((ROOT / "jobs" / "specs").glob("*.yaml")):
        if not path.name.startswith("train-"):
            read_spec(path)


def imported(*names: str) -> set[str]:
    """Which of the heavy libraries a process has after importing modules of the package."""
    imports = ", ".join(f"dentgen.{name}" for name in names)
    code = f"import sys, {imports}; print(*({{'torch', 'ray', 'diffusers'}} & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(run.stdout.split())


def test_light_commands_import_no_heavy_library() -> None:
    light = ("cli.app", "spec.build", "spec.train", "storage", "shards.plan_file", "shards.ledger", "shards.verify")
    assert imported(*light, "shards.gc", "shards.lease") == set()


def test_commit_tasks_import_no_heavy_library() -> None:
    """Their processes start beside the busy actors; seconds of imports would delay the first commits."""
    assert imported("pipeline.actors.commit_stage") == set()


def strings(path: Path) -> set[str]:
    """String constants of a module, without docstrings."""
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented) and node.body
                  and isinstance(node.body[0], ast.Expr)}  # fmt: skip
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings)
    return {node.value for node in constants if isinstance(node.value, str)}


def test_names_of_the_output_tree_have_one_home() -> None:
    names = {layout.INDEX, layout.SAMPLES, layout.CROISSANT, layout.REPORT, layout.CONTACT_SHEET, layout.SUCCESS,
             layout.LEASE, "index.json", "samples.parquet"}  # fmt: skip
    for path in modules():
        if path != Path("shards/layout.py"):
            assert not names & strings(ROOT / "dentgen" / path), path


def test_modules_and_tests_have_no_dialect() -> None:
    """The formula that modules of the first edition opened with."""
    formula = "Refuses to " + "know"
    found = [path for folder in ("dentgen", "jobs", "tests") for path in (ROOT / folder).rglob("*.py")
             if formula in path.read_text()]  # fmt: skip
    assert found == []
