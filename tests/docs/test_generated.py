"""Generated parts of the documentation: tables of keys, the command line reference, labels, included pages."""

from __future__ import annotations

import re
from typing import Annotated, Literal, get_args

import pytest
import typer
from mkdocs.exceptions import PluginError
from pydantic import BaseModel, Field

from dentgen.conditions.labels import FDI_NUMBERS, SEG_CLASSES
from dentgen.documents.samples import SampleMetadata
from dentgen.spec.build import BuildSpec
from docs.generate import commands, includes, labels, tables
from docs.hooks import generated
from tests.conftest import ROOT


class Inner(BaseModel):
    share: float = Field(default=0.5, ge=0, le=1, description="A share.")
    names: tuple[str, ...] = Field(default=(), description="Names.")


class Small(BaseModel):
    kind: Literal["a", "b"] = Field(default="a", description="Kind | of it.")
    count: int | None = Field(default=None, ge=1, description="Count.")
    scales: dict[str, float] = Field(default={"x": 1.5}, description="Scales.")
    path: str = Field(description="Where <it> is.")
    inner: Inner = Inner(share=0.25)


def test_rows_have_type_default_and_meaning() -> None:
    rows = [row.markdown() for row in tables.spec_rows(Small)]
    assert rows == [
        "| `kind` | `a`, `b` | `a` | Kind \\| of it. |",
        "| `count` | whole number, at least 1 or `null` | `null` | Count. |",
        "| `scales` | mapping of names to numbers | `{x: 1.5}` | Scales. |",
        "| `path` | text | required | Where &lt;it> is. |",
        "| `inner.share` | number, 0 to 1 | `0.25` | A share. |",
        "| `inner.names` | list of texts | `[]` | Names. |",
    ]


@pytest.mark.parametrize("section", list(BuildSpec.model_fields))
def test_a_section_has_a_row_for_every_key(section: str) -> None:
    keys = re.findall(r"^\| `([\w.]+)` \|", tables.build_spec_table(section), re.MULTILINE)
    model = BuildSpec.model_fields[section].annotation
    assert model is not None
    one = next(iter(get_args(model)), model)  # of a list of sections
    assert keys == [f"{section}.{key}" for key in one.model_fields]


def test_every_key_of_the_training_specs_is_in_a_table() -> None:
    text = tables.training_spec_tables()
    for kind in tables._recipe_classes():
        for row in tables.spec_rows(kind):
            assert f"| `{row.key}` |" in text or row.key in {"recipe", "decoder"}
    assert text.count("| `learning_rate` |") == 1, "what all recipes have is listed once"


def test_every_field_of_a_document_has_a_meaning() -> None:
    rows = [row.split(" | ") for row in tables.document_table("SampleMetadata").splitlines()[2:]]
    assert [row[0].strip("| `") for row in rows] == list(SampleMetadata.model_fields)
    assert all(row[2].strip(" |") for row in rows)


def test_every_command_is_in_the_reference_with_its_options() -> None:
    text = commands.command_reference()
    for command in commands.visible_commands():
        assert f"\n### {command.name}\n" in text
    phantom = text.split("### dentgen phantom\n")[1].split("\n### ")[0]
    assert "| <code>--count N</code> | `100` | Records" in phantom
    assert "| <code>--look photo&#124;scan</code> | `photo` |" in phantom
    assert "| <code>OUT</code> | required |" in phantom
    assert "```sh\ndentgen phantom conditions/" in phantom
    assert "\n### dentgen schemas\n" not in text, "hidden commands are not listed"


def test_a_command_shows_flags_defaults_and_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()

    @app.command(rich_help_panel="Conditions")
    def one(
        place: Annotated[str, typer.Argument(help="Where.")],
        fast: Annotated[bool, typer.Option(help="Be quick, as engine.slots allows.")] = True,
        spec: Annotated[str, typer.Option(metavar="FILE", help="Spec.", show_default="the demo's")] = "",
    ) -> None:
        """Do one thing.

        Example: dentgen one here --fast
        """

    @app.command(rich_help_panel="Datasets")
    def two() -> None:
        """Do another."""

    monkeypatch.setattr(commands, "app", app)
    text = commands.command_reference()
    assert "dentgen one PLACE [OPTIONS]" in text
    assert "| <code>--fast / --no-fast</code> | `fast` | Be quick, as `engine.slots` allows. |" in text
    assert "| <code>--spec FILE</code> | the demo's | Spec. |" in text
    assert "```sh\ndentgen one here --fast\n```" in text
    assert text.index("## Conditions") < text.index("### dentgen one") < text.index("## Datasets") < text.index("two")


def test_labels_are_all_there() -> None:
    values = re.findall(r"^\| (\d+) \|", labels.class_table(), re.MULTILINE)
    assert [int(value) for value in values] == list(SEG_CLASSES)
    numbers = re.findall(r"\b\d\d\b", labels.fdi_charts())
    assert sorted(map(int, numbers)) == sorted(FDI_NUMBERS)


def test_included_pages_exist_and_their_links_lead_into_the_site() -> None:
    for source, page in includes.PAGES.items():
        assert (ROOT / source).is_file()
        for link in re.finditer(r"\]\(([^)#\s]+)", includes.included(source, page)):
            target = link[1]
            place = (ROOT / "docs" / page).parent / target
            known = place.exists() or str(place.resolve().relative_to(ROOT / "docs")) in includes.PICTURES.values()
            assert "://" in target or known, (source, target)


def test_links_to_what_the_site_lacks_keep_their_text() -> None:
    text = includes.included("CONTRIBUTING.md", "contributing.md")
    assert "# Contributing" in text
    assert (
        includes._LINK.sub(
            lambda link: includes._adjusted(link, "dentgen/phantom", "how/phantoms.md"),
            "[a](rays/embree.py) [b](../shards/README.md#not-promised) ![c](../../docs/pictures/phantoms.jpg)",
        )
        == "a (`dentgen/phantom/rays/embree.py`) [b](promises.md#not-promised) ![c](../pictures/phantoms.jpg)"
    )


def test_unknown_marks_are_an_error() -> None:
    with pytest.raises(PluginError):
        generated("tables", "", "index.md")
    with pytest.raises(KeyError):
        generated("build-spec", "sampler", "guide/spec.md")
