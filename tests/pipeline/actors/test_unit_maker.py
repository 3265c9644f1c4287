"""The backend of an actor: units as one process makes them, overlapping, and only where the plan fits this node."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dentgen.diffusion.canvas import Canvas, Sampled
from dentgen.documents import Unit
from dentgen.errors import BuildError
from dentgen.generation import unit as unit_module
from dentgen.pipeline.actors import unit_maker
from dentgen.pipeline.actors.heartbeat import Beat
from dentgen.pipeline.actors.restarting_engine import RestartingEngine
from dentgen.pipeline.actors.unit_maker import EngineBackend, UnitMaker, drains_per_unit
from dentgen.shards.plan import BuildLocation, Plan
from tests.pipeline.actors.two_units import SECONDS, EngineWatch, TwoUnits, at_once
from tests.report.fake_builds import fake_plan
