"""``sampling.upscale`` resolved: from records with photos; ``tests/builds/test_upscaled.py`` does so from builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dentgen.errors import SpecError
from dentgen.generation.generator import load_generator
from dentgen.pipeline.upscale import with_upscale
from dentgen.spec.build import BuildSpec
from tests.conftest import ROOT, write_tar

Records = dict[str, dict[str, bytes]]


def spec(source: Path | str, **sampling: Any) -> BuildSpec:
    return BuildSpec.model_validate({"source": {"path": str(source)}, "sampling": sampling, "engine": {"slots": 49}})


@pytest.mark.parametrize(("factor", "size", "windows"), [(2, 512, 9), (4, 1024, 49)])
def test_the_size_of_the_first_photo_is_multiplied(factor: int, size: int, windows: int) -> None:
    found = with_upscale(spec(ROOT / "jobs" / "demo", upscale=factor))
    assert (found.conditions.size, found.sampling.window, found.max_windows) == (size, 256, windows)
    assert (found.sampling.start_from, found.sampling.strength, found.sampling.upscale) == ("photo", 0.3, None)
    named = {"start_from": "photo", "strength": 0.3, "window": 256}
    explicit = spec("x", **named)
    resized = explicit.model_copy(update={"conditions": explicit.conditions.model_copy(update={"size": size})})
    assert found.digest() == resized.digest()


def test_what_the_spec_names_stays() -> None:
    demo = str(ROOT / "jobs" / "demo")
    named = {"upscale": 2, "window": 192, "strength": 0.5}
    values = {"source": {"path": demo}, "conditions": {"size": [256, 384]}, "sampling": named}
    found = with_upscale(BuildSpec.model_validate(values))
    assert (found.conditions.size, found.sampling.window, found.sampling.strength) == ((256, 384), 192, 0.5)


def test_a_source_without_pictures_is_refused(tmp_path: Path, demo_members: Records) -> None:
    key = min(demo_members)
    maps = {name: content for name, content in demo_members[key].items() if not name.startswith("photo")}
    write_tar(tmp_path / "a.tar", {key: maps})
    with pytest.raises(SpecError) as caught:
        with_upscale(spec(tmp_path, upscale=2))
    assert (caught.value.key, caught.value.file) == ("sampling.upscale", str(tmp_path))


def test_windows_that_do_not_fit_are_named() -> None:
    few = BuildSpec.model_validate({"source": {"path": str(ROOT / "jobs" / "demo")}, "sampling": {"upscale": 4}})
    with pytest.raises(SpecError) as caught:
        with_upscale(few)
    assert caught.value.key == "sampling.upscale 4, to 1024 x 1024 pixels"


def test_without_a_plan_there_is_nothing_to_multiply() -> None:
    with pytest.raises(SpecError) as caught:
        load_generator(spec("x", upscale=2))
    assert caught.value.key == "sampling.upscale"
