"""Whole jobs over many units: planning, Ray stages, running. The only folder that imports Ray Data."""
