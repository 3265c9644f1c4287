"""Names of datasets by OpenLineage's rules, and facets by the schemas that they name."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from dentgen.pipeline.lineage_events import InputDataset, dataset_name, facet
from tests.pipeline.openlineage.schema import problems


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("s3://bucket/a/b/", ("s3://bucket", "a/b")),
        ("s3://bucket", ("s3://bucket", "/")),
        ("s3://user:hunter2@bucket/a", ("s3://bucket", "a")),
        ("/data/out", ("file", "/data/out")),
        ("out", ("file", str(Path.cwd() / "out"))),
        ("https://host/x?token=hunter2", ("https://host", "x")),
    ],
)
def test_a_place_has_a_namespace_and_a_name_without_secrets(place: str, name: tuple[str, str]) -> None:
    assert dataset_name(place) == name


def test_a_facet_names_the_schema_that_it_fits() -> None:
    made = facet("InputStatisticsInputDatasetFacet", "https://pypi.org/project/dentgen/1", rowCount=3)
    assert problems(made) == []
    assert problems({**made, "rowCount": "three"}) != [], "the schema is looked at"


def test_a_field_that_the_specification_lacks_is_refused() -> None:
    with pytest.raises(ValidationError):
        InputDataset(namespace="n", name="m", facet={})  # type: ignore[call-arg]
