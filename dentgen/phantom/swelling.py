"""Swollen gum: the rolled margin of inflamed gum, lifted off a mouth's sheet of gum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dentgen.phantom.mesh import oriented_normals
from dentgen.phantom.patient import Jaw, Patient

#: Amount of inflammation from which gum swells, and the thickness that each amount above it adds; chosen by eye.
_SWELLS_FROM, _THICKNESS_MM = 0.7, 0.9
#: Distance from the margin at which the swelling is thickest, and how far it reaches.
_CREST_MM, _REACH_MM = 0.7, 1.1


def with_swollen_gum(patient: Patient, inflammation: float) -> Patient:
    """The same mouth with gum that is thicker near its margin.

    Args:
        patient: The mouth.
        inflammation: As in ``Material``, 0 to about 1.6.
    """
    thickest_mm = _THICKNESS_MM * (inflammation - _SWELLS_FROM)
    if thickest_mm <= 0:
        return patient
    return replace(patient, upper=_swollen(patient.upper, thickest_mm), lower=_swollen(patient.lower, thickest_mm))


def _swollen(jaw: Jaw, thickest_mm: float) -> Jaw:
    part, margin = jaw.gum.part, jaw.gum.part.attributes["margin_mm"]
    share = np.exp(-(((margin - _CREST_MM) / _REACH_MM) ** 2)) * (margin > 0)
    vertices = part.vertices + (thickest_mm * share)[:, None] * oriented_normals(part)
    return replace(jaw, gum=replace(jaw.gum, part=replace(part, vertices=vertices)))
