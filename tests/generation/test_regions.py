"""Findings as regions of canvases, on the real miniature: prompts, masks on the latents, settings of the spec."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from dentgen.diffusion.canvas import Canvas
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.diffusion.interpolation import lerp
from dentgen.errors import ConditionError, SpecError
from dentgen.generation.canvases import build_canvases
from dentgen.generation.engines import start_engine
from dentgen.generation.generator import Generator, load_generator
from dentgen.generation.regions import cell_mask, latent_mask, visible_shares
from dentgen.generation.requests import check_request, sample_requests
from dentgen.records import PaintedRegion
from tests.conditions.painted_records import RED, WHITE, band, region
from tests.conftest import small_spec
from tests.generation.finding_records import EDGE, finding, record

CROWN = {"teeth": [11], "kind": "restoration", "part": "whole", "prompt": "{prompt}, gold crown"}
GUM = {"where": "gingiva", "kind": "inflammation", "prompt": "red gums", "end": 0.5, "edge": "continuous"}


def generator_of(tmp_path: Path, findings: list[dict[str, Any]], **sections: Any) -> Generator:
    return load_generator(small_spec(tmp_path, tmp_path / "out", findings=findings, engine={"slots": 8}, **sections))


def canvas_of(generator: Generator) -> Canvas:
    (request, *_) = sample_requests(generator, record())
    (canvas,) = build_canvases(generator, [request])
    return canvas


def test_findings_are_regions_of_the_canvas(tmp_path: Path) -> None:
    generator = generator_of(tmp_path, [CROWN, GUM])
    canvas = canvas_of(generator)
    crown, gum = canvas.layers.regions
    assert torch.equal(crown.prompt.values, generator.prompts.embed("a photo, gold crown"))
    assert torch.equal(gum.prompt.values, generator.prompts.embed("red gums"))
    assert (gum.edge, gum.end, crown.edge, crown.end) == ("continuous", 0.5, "discrete", 1.0)
    assert canvas.layers.background
    assert canvas.layers.bootstrap is None
    fdi = record().fdi
    assert fdi is not None
    cells = (fdi == 11).reshape(EDGE // 8, 8, EDGE // 8, 8).any((1, 3))
    assert torch.equal(crown.mask, torch.from_numpy(cells.astype(np.float32)))
    assert [row.layer for row in canvas.rows(0)] == [0, 1, 2]


def test_findings_without_prompt_change_maps_only(tmp_path: Path) -> None:
    generator = generator_of(tmp_path, [{**CROWN, "prompt": None}])
    assert canvas_of(generator).layers.regions == ()
    assert start_engine(generator).shape.regions == 0


def test_prompts_are_interpolated_from_the_own_one(tmp_path: Path) -> None:
    generator = generator_of(tmp_path, [{**CROWN, "prompt_strength": 0.25}])
    (crown,) = canvas_of(generator).region_prompts
    own, other = (generator.prompts.embed(text) for text in ("a photo", "a photo, gold crown"))
    assert torch.equal(crown.values, lerp(own, other, 0.25))


def test_negative_prompts_of_regions_are_their_own(tmp_path: Path) -> None:
    guided = {"guidance_scale": 2.0, "negative_prompt": "blurry"}
    findings: list[dict[str, Any]] = [{**CROWN, "negative_prompt": "porcelain"}, GUM]
    generator = generator_of(tmp_path, findings, sampling={**guided, "steps": 2, "variants": 1})
    canvas = canvas_of(generator)
    prompts = [row.prompt.values for row in canvas.rows(0)]
    expected = ["blurry", "a photo", "porcelain", "a photo, gold crown", "blurry", "red gums"]
    assert all(torch.equal(a, generator.prompts.embed(b)) for a, b in zip(prompts, expected, strict=True))


def test_masks_are_blurred_weakened_and_keep_small_findings() -> None:
    inside = np.zeros((32, 32), bool)
    inside[9:11, 9:11] = True
    asked = finding(teeth=[11], blur=2.0, strength=0.9)
    mask = latent_mask(inside, asked, 8)
    blurred = gaussian_filter(inside.astype(np.float32), 2.0).reshape(4, 8, 4, 8).max((1, 3))
    assert mask.dtype == torch.float32
    torch.testing.assert_close(mask, torch.from_numpy(0.9 * blurred))
    sharp = latent_mask(inside, finding(teeth=[11]), 8)
    assert sharp[1, 1] == 1
    assert sharp.sum() == 1


@pytest.mark.integration
def test_regions_begin_on_white_in_the_middle(tmp_path: Path) -> None:
    regions = {"bootstrap_steps": 2, "mix_steps": 1.5, "leak": 0.2, "centre": True}
    generator = generator_of(tmp_path, [CROWN], regions=regions)
    bootstrap = canvas_of(generator).layers.bootstrap
    assert bootstrap is not None
    assert (bootstrap.steps, bootstrap.mix_steps, bootstrap.leak) == (2, 1.5, 0.2)
    assert bootstrap.stride == generator.deepest_cell == 4
    (white,) = generator.codec.encode_pictures([np.full((EDGE, EDGE, 3), 255, np.uint8)])
    assert torch.equal(bootstrap.white, white)
    engine = start_engine(generator)
    assert engine.shape.centred
    (request, *_) = sample_requests(generator, record())
    found = engine.run(build_canvases(generator, [request]))[request.key]
    assert isinstance(found, torch.Tensor)
    assert bool(found.isfinite().all())


def test_white_stays_for_all_steps_of_the_bootstrap_unless_it_is_told_otherwise(tmp_path: Path) -> None:
    generator = generator_of(tmp_path, [CROWN], regions={"bootstrap_steps": 3})
    bootstrap = canvas_of(generator).layers.bootstrap
    assert bootstrap is not None
    assert [bootstrap.white_share(step) for step in range(4)] == [1, 1, 1, 0]


def test_centering_needs_whole_cells(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        generator_of(tmp_path, [CROWN], regions={"bootstrap_steps": 1, "centre": True}, conditions={"size": [64, 72]})
    assert (caught.value.key, caught.value.found) == ("conditions.size", [64, 72])


def test_long_prompts_of_variants_in_findings_are_refused(tmp_path: Path) -> None:
    """Each fits alone; together they do not."""
    held = {"same_noise": True, "change": ["prompt"], "prompts": ["white teeth " * 30]}
    generator = generator_of(tmp_path, [{**CROWN, "prompt": "{prompt}, gold crown " + "old " * 20}], variants=held)
    (request, *_) = sample_requests(generator, record())
    with pytest.raises(ConditionError):
        check_request(generator, request)


def test_long_prompts_of_findings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        generator_of(tmp_path, [{**CROWN, "prompt": "gold crown " * 60}])
    assert caught.value.key == "findings.0.prompt"
    generator = generator_of(tmp_path, [CROWN])
    long = "teeth " * 73
    (request, *_) = sample_requests(generator, record(), prompt=long)
    with pytest.raises(ConditionError):
        check_request(generator, request)


def painted_canvas(generator: Generator, *regions: PaintedRegion, prompt: str | None = None) -> Canvas:
    (request, *_) = sample_requests(generator, replace(record(), painted=regions), prompt=prompt)
    check_request(generator, request)
    (canvas,) = build_canvases(generator, [request])
    return canvas


def cells(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(cell_mask(mask, 0, 8))


def test_painted_regions_lie_below_findings_and_cover_each_other(tmp_path: Path) -> None:
    generator = generator_of(tmp_path, [CROWN], regions={"painted": 2}, sampling={"steps": 12})
    low, high = band(EDGE, 0, 0.75), band(EDGE, 0.5, 1)
    canvas = painted_canvas(
        generator, region(low, strength=0.9, prompt_strength=0.5), region(high, "teeth", WHITE, strength=0.75)
    )
    lowest, above, crown = canvas.layers.regions
    assert torch.equal(crown.mask, canvas_of(generator).layers.regions[0].mask)
    free = 1 - crown.mask
    assert torch.equal(above.mask, cells(high) * free)
    torch.testing.assert_close(lowest.mask, cells(low) * (1 - 0.75 * cells(high)) * free)
    assert (lowest.strength, lowest.prompt_strength, above.strength) == (0.9, 0.5, 0.75)
    own = generator.prompts.embed("a photo")
    assert torch.equal(canvas.region_prompts[0].values, lerp(own, generator.prompts.embed(RED), 0.5))
    assert torch.equal(canvas.region_prompts[1].values, generator.prompts.embed(WHITE))


def test_painted_masks_are_blurred_when_they_are_used(tmp_path: Path) -> None:
    generator = generator_of(tmp_path, [], regions={"painted": 1})
    mask = band(EDGE)
    (soft,) = painted_canvas(generator, region(mask, blur=4.0)).layers.regions
    torch.testing.assert_close(soft.mask, torch.from_numpy(cell_mask(mask, 4.0, 8)))
    assert ((soft.mask > 0) & (soft.mask < 1)).any()


def test_painted_regions_have_negative_prompts_where_there_are_rows_for_them(tmp_path: Path) -> None:
    guided = {"guidance_scale": 2.0, "negative_prompt": "blurry", "steps": 2, "variants": 1}
    wanted = region(band(EDGE), negative_prompt="porcelain")
    generator = generator_of(tmp_path, [], regions={"painted": 1}, sampling=guided)
    prompts = [row.prompt.values for row in painted_canvas(generator, wanted).rows(0)]
    expected = ["blurry", "a photo", "porcelain", RED]
    assert all(torch.equal(a, generator.prompts.embed(b)) for a, b in zip(prompts, expected, strict=True))
    unguided = generator_of(tmp_path, [], regions={"painted": 1})
    assert [each.negative for each in painted_canvas(unguided, wanted).layers.regions] == [None]


@pytest.fixture(scope="module")
def painting(tmp_path_factory: pytest.TempPathFactory) -> tuple[Generator, DiffusionEngine]:
    """A generator and engine of two painted regions."""
    generator = generator_of(tmp_path_factory.mktemp("painting"), [], regions={"painted": 2})
    return generator, start_engine(generator)


def test_weak_regions_and_empty_ones_leave_the_picture_as_it_is(painting: tuple[Generator, DiffusionEngine]) -> None:
    generator, _ = painting
    weak = painted_canvas(generator, region(band(EDGE), strength=0.0), region(band(EDGE, 0, 0), "empty"))
    assert (weak.layers.regions, weak.layers.background) == ((), True)
    assert len(weak.rows(0)) == 1


def test_all_of_a_picture_painted_with_its_own_prompt_is_the_picture(
    painting: tuple[Generator, DiffusionEngine],
) -> None:
    generator, engine = painting
    plain = painted_canvas(generator)
    painted = painted_canvas(generator, region(band(EDGE, 0, 1), prompt="a photo"))
    assert [row.layer for row in painted.rows(0)] == [1]
    mixed = replace(painted, layers=replace(painted.layers, background=True))
    first, *others = (latents_of(engine, canvas) for canvas in (plain, painted, mixed))
    for other in others:
        torch.testing.assert_close(other, first, atol=1e-5, rtol=0)


@pytest.mark.integration
def test_of_regions_at_one_place_the_upper_one_is_seen(painting: tuple[Generator, DiffusionEngine]) -> None:
    generator, engine = painting
    mask = band(EDGE)
    red, white = region(mask), region(mask, "teeth", WHITE)
    both, other_way, alone = (
        latents_of(engine, painted_canvas(generator, *each)) for each in ((red, white), (white, red), (white,))
    )
    assert torch.equal(both, alone)
    assert not torch.equal(both, other_way)


def latents_of(engine: DiffusionEngine, canvas: Canvas) -> torch.Tensor:
    latents = engine.run([canvas])[canvas.key]
    assert isinstance(latents, torch.Tensor)
    return latents


def test_too_many_painted_regions_and_long_prompts_are_refused(painting: tuple[Generator, DiffusionEngine]) -> None:
    generator, _ = painting
    three = [region(band(EDGE), str(number)) for number in range(3)]
    with pytest.raises(ConditionError) as caught:
        painted_canvas(generator, *three)
    assert (caught.value.file, caught.value.found) == ("painted", "3 regions")
    assert "at most 2" in str(caught.value.expected)
    for long in ({"prompt": "teeth " * 90}, {"negative_prompt": "teeth " * 90}):
        with pytest.raises(ConditionError) as caught:
            painted_canvas(generator, region(band(EDGE), **long))
        assert caught.value.file.startswith("prompt")


def test_what_is_left_below_is_a_product() -> None:
    masks = [torch.tensor([1.0, 0.5]), torch.tensor([0.5, 0.25]), torch.tensor([0.5, 1.0])]
    assert [share.tolist() for share in visible_shares(masks)] == [[0.25, 0.0], [0.5, 0.0], 1.0]
    assert visible_shares([]) == []
