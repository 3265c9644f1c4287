"""Mouths for tests of what surrounds them."""

from __future__ import annotations

from functools import cache

from dentgen.phantom.anatomy import Dentition
from dentgen.phantom.patient import Patient, build_patient
from dentgen.phantom.render import phantom_group


@cache
def patient(number: int = 0, dentition: Dentition = "permanent") -> Patient:
    """A mouth of the set with seed 5, built once."""
    return build_patient(5, phantom_group(5, number, dentition), dentition)
