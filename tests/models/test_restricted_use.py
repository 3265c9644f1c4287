"""Licenses that restrict use are known in every spelling, and knowing them imports no model."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dentgen.models.restricted_use import RESTRICTED_USE, known_identifier, use_restrictions


@pytest.mark.parametrize("identifier", sorted(RESTRICTED_USE))
def test_every_identifier_is_its_own(identifier: str) -> None:
    assert known_identifier(identifier.upper()) == identifier
    assert use_restrictions(["mit", identifier]) == (RESTRICTED_USE[identifier],)


def test_other_licenses_stay_as_they_are() -> None:
    assert known_identifier("CC-BY-NC-4.0") == "CC-BY-NC-4.0"
    assert use_restrictions(["CC-BY-NC-4.0"]) == ()


@pytest.mark.integration
def test_publishing_waits_for_no_model() -> None:
    heavy = "{'torch', 'diffusers', 'transformers'} & sys.modules.keys()"
    code = f"import sys, dentgen.export.publication.publish; sys.exit(str({heavy}) if {heavy} else 0)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
