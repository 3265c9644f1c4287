"""Sections: strictness, class names, places."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from dentgen.conditions.labels import SEG_CLASSES
from dentgen.errors import SpecError
from dentgen.spec.build import BuildSpec
from dentgen.spec.section import ClassName, Section
from dentgen.spec.yaml_file import validate_document


class Share(Section):
    of: float = 0.5


@pytest.mark.parametrize("values", [{"off": 0.1}, {"of": float("nan")}, {"of": float("inf")}])
def test_unknown_keys_and_numbers_that_are_not_finite_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError) as caught:
        Share.model_validate(values)
    assert [fault["loc"] for fault in caught.value.errors()] == [tuple(values)]


def test_sections_stay_as_they_are_read() -> None:
    section = Share(of=0.25)
    with pytest.raises(ValidationError):
        section.of = 0.75
    assert section.of == 0.25


def test_class_names_are_those_of_label_maps() -> None:
    assert set(get_args(ClassName)) == set(SEG_CLASSES.values()) - {"ignore"}


def test_places_are_resolved_where_the_spec_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that they are the same in workers, whose home folder is another one."""
    monkeypatch.setenv("HOME", "/home/x")
    values = {"source": {"path": "~/src"}, "output": {"path": "file:///a%20b"}, "model": {"bundle": "~/bundle"}}
    spec = BuildSpec.model_validate(values)
    assert (spec.source.path, spec.output.path, spec.model.bundle) == ("/home/x/src", "/a b", "/home/x/bundle")
    monkeypatch.setenv("HOME", "/elsewhere")
    assert BuildSpec.model_validate(spec.model_dump()) == spec
    assert BuildSpec.model_validate({"output": {"path": "thesis::v2"}}).output.path == "thesis::v2"
    same = BuildSpec.model_validate({"model": {"bundle": "file:///home/x/bundle"}})
    assert same.digest() == BuildSpec.model_validate({"model": {"bundle": "/home/x/bundle"}}).digest()


@pytest.mark.parametrize("section", ["source", "output", "model"])
@pytest.mark.parametrize(
    "place", ["https://hunter2@host/x", "s3://KEY:a/hunter2@bucket/x", "ftp://user:hunter2@host/x", "file://host/x"]
)
def test_passwords_and_foreign_hosts_are_refused_and_never_shown(section: str, place: str) -> None:
    with pytest.raises(SpecError) as caught:
        validate_document(BuildSpec, {section: {"bundle" if section == "model" else "path": place}}, "s.yaml")
    assert caught.value.key.startswith(f"{section}.")
    assert "hunter2" not in str(caught.value)
