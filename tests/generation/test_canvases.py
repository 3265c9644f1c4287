"""Ways of sampling, from the spec to the shard: what a build does for each of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UniPCMultistepScheduler

from dentgen.conditions.labels import GINGIVA, TOOTH
from dentgen.conditions.readers.source import list_shards
from dentgen.conditions.unit_records import read_unit
from dentgen.diffusion.solver import probe_solver
from dentgen.errors import BundleError, ControlError, DentgenError, SpecError
from dentgen.generation.canvases import build_canvases
from dentgen.generation.engines import start_engine
from dentgen.generation.generator import load_planned_generator
from dentgen.generation.requests import sample_requests
from dentgen.generation.unit import generate_unit
from dentgen.models.bundle import Bundle, find_bundle
from dentgen.models.control import control_residuals
from dentgen.pipeline.plan import make_plan
from dentgen.pipeline.run import build
from dentgen.shards.reader import read_samples
from tests.conftest import small_spec
from tests.diffusion.parts import inpainting_unet
from tests.generation.ways import (
    FULL_SIZE,
    REFERENCE,
    Members,
    Picture,
    away,
    canvas_of,
    generator_of,
    image,
    pictures,
    samples,
    unit,
)


@pytest.mark.slow
def test_schedulers_by_name_config_and_options(source: Path) -> None:
    by_name = samples(source, sampling={"scheduler": "dpmpp_2m_karras", "steps": 3})
    config = {
        "_class_name": "DPMSolverMultistepScheduler", "use_karras_sigmas": True, "timestep_spacing": "trailing",
        "beta_schedule": "scaled_linear",
    }  # fmt: skip
    by_config = samples(source, sampling={"scheduler": config, "steps": 3})
    for key, (picture, metadata) in by_name.items():
        assert metadata["scheduler"] == "dpmpp_2m_karras"
        assert (picture == by_config[key][0]).all()
        assert by_config[key][1]["scheduler"] == "DPMSolverMultistepScheduler"
    options = generator_of(source, sampling={"scheduler_options": {"solver_order": 3}, "steps": 5}).table
    own_scheduler = UniPCMultistepScheduler.from_pretrained(find_bundle("miniature") / "scheduler", solver_order=3)
    assert torch.equal(options.coefficients, probe_solver(own_scheduler, 5).coefficients)
    assert not torch.equal(options.coefficients, generator_of(source, sampling={"steps": 5}).table.coefficients)
    two = pictures(source, sampling={"scheduler": "lcm", "steps": 2})
    own = {"scheduler": "lcm", "steps": 2, "timesteps": [999, 499]}
    assert away(pictures(source, sampling=own), two) == 0
    assert away(pictures(source, sampling={**own, "timesteps": [899, 299]}), two) > 0.5


@pytest.mark.slow
def test_a_photo_is_started_from_and_partly_kept(source: Path, demo_members: Members) -> None:
    photo = {key: image(members["photo.png"]).astype(np.int16) for key, members in demo_members.items()}

    def error(strength: float) -> float:
        made = samples(source, conditions=FULL_SIZE, sampling={"start_from": "photo", "strength": strength, "steps": 8})
        return float(np.mean([np.abs(picture - photo[m["source_key"]]).mean() for picture, m in made.values()]))

    assert error(0.2) < error(0.6) < error(1.0)
    repaint = {"start_from": "photo", "repaint": ["tooth"], "steps": 4}
    repainted = samples(source, conditions=FULL_SIZE, sampling=repaint)
    kept, painted = [], []
    for picture, metadata in repainted.values():
        seg = image(demo_members[metadata["source_key"]]["seg.png"])
        difference = np.abs(picture - photo[metadata["source_key"]]).mean(-1)
        kept.append(difference[seg == GINGIVA].mean())
        painted.append(difference[seg == TOOTH].mean())
        assert (metadata["start_from"], metadata["strength"], metadata["repaint"]) == ("photo", 1.0, ["tooth"])
    assert np.mean(kept) < 0.6 * np.mean(painted)


@pytest.mark.integration
def test_pictures_with_parts_of_photos_say_so(source: Path, tmp_path: Path) -> None:
    """They may show a person, whatever else is synthetic about them."""
    for start, term in (("noise", "/trainedAlgorithmicMedia"), ("photo", "/compositeWithTrainedAlgorithmicMedia")):
        out = tmp_path / start
        strength = 1.0 if start == "noise" else 0.5
        build(small_spec(source, out, sampling={"start_from": start, "strength": strength}), use_ray=False)
        members = next(members for _, members in read_samples(str(out)))
        metadata = json.loads(members["json"])
        assert metadata["synthetic"] == (start == "noise")
        assert metadata["digital_source_type"].endswith(term)
        assert term.encode() in members["png"]
        for page in ("README.md", "croissant.json"):
            assert ("shows no person" in (out / page).read_text()) == (start == "noise")


BY_CLASS: dict[str, object] = {"adapters": {"blended": {"tooth": 1.5, "background": 0.25}}}


def test_scales_by_class_are_means_over_the_pixels_of_a_latent(source: Path) -> None:
    generator = generator_of(source, conditions=FULL_SIZE, model=BY_CLASS)
    records, _ = read_unit(generator.spec, make_plan(generator.spec).units[0], list_shards(str(source))[0])
    (control,) = build_canvases(generator, sample_requests(generator, records[0]))[0].controls
    assert control.scale == 1.0
    assert control.where is not None
    seg = records[0].conditions["segmentation"]
    for y, x in np.ndindex(16, 16):
        cell = seg[8 * y : 8 * y + 8, 8 * x : 8 * x + 8].ravel()
        expected = sum(1.5 if value == TOOTH else 0.25 if value == 0 else 1.0 for value in cell) / 64
        assert float(control.where[y, x]) == pytest.approx(expected)


@pytest.mark.integration
def test_scales_by_class_reach_picture_and_metadata(source: Path) -> None:
    plain = samples(source, model={"adapters": {"blended": 1.0}})
    placed = samples(source, model=BY_CLASS)
    equal = samples(source, model={"adapters": {"blended": {"tooth": 1.0}}})
    for key, (picture, metadata) in placed.items():
        assert metadata["adapters"] == {"blended": {"tooth": 1.5, "background": 0.25}}
        assert np.abs(picture - plain[key][0]).mean() > 1
        assert (equal[key][0] == plain[key][0]).all()


@pytest.mark.slow
def test_a_unet_that_sees_the_mask(source: Path, bundle: Path, miniature: Bundle) -> None:
    inpainting_unet(miniature).save_pretrained(bundle / "unet")
    way = {"start_from": "photo", "repaint": ["tooth"]}
    assert len(samples(source, model={"bundle": str(bundle)}, sampling=way)) == 4
    with pytest.raises(SpecError) as caught:
        unit(source, model={"bundle": str(bundle)})
    assert caught.value.key == "sampling.repaint"


@pytest.mark.slow
def test_guidance_without_a_second_row(source: Path) -> None:
    plain = pictures(source)
    found = {}
    for method in ("full", "self", "initialize"):
        made = samples(source, sampling={"guidance_scale": 2.0, "guidance": method})
        found[method] = [picture for picture, _ in made.values()]
        assert all(metadata["guidance"] == method for _, metadata in made.values())
        assert away(found[method], plain) > 0.5
    rows = {"full": 2, "self": 1, "initialize": 1}
    for method, count in rows.items():
        canvas = canvas_of(source, sampling={"guidance_scale": 2.0, "guidance": method})
        assert (len(canvas.rows(0)), len(canvas.rows(1))) == (1 if method == "self" else 2, count)
    negative = {"guidance_scale": 2.0, "negative_prompt": "yellow teeth"}
    guidance = canvas_of(source, sampling=negative).guidance
    assert guidance.negative is not None
    assert torch.equal(guidance.negative.values, generator_of(source).prompts.embed("yellow teeth"))
    gentle = {"guidance_scale": 2.0, "guidance": "self", "guidance_delta": 0.3}
    assert away(pictures(source, sampling=gentle), found["self"]) > 0.5


@pytest.mark.slow
def test_controls_side_by_side(source: Path, bundle: Path) -> None:
    """Adapters and ControlNets are added; a condition each, or one image for all."""
    model = {"bundle": str(bundle)}
    one = pictures(source, model=model)
    same = {**model, "adapters": {"blended": 0.5, "segmentation": 0.5}}  # the second is a copy of the first
    assert away(pictures(source, model=same), one) < 0.02
    joined = samples(source, model={**model, "controlnets": {"edges": 0.7}})
    assert away([picture for picture, _ in joined.values()], one) > 0.5
    assert all(metadata["adapters"] == {"blended": 1.0, "edges": 0.7} for _, metadata in joined.values())
    each = {"combine": "sum", "use": ["segmentation", "lighting"]}
    bare = pictures(source, model={**model, "adapters": {}}, conditions=each)
    turned = {**each, "use": ["lighting", "segmentation"]}
    swapped = pictures(source, model={**model, "adapters": {}}, conditions=turned)
    assert away(bare, swapped) < 0.02, "residuals are added, in whatever order"
    assert away(bare, one) > 0.5
    window = pictures(source, model=model, conditions={"control_end": 0.25})
    assert away(window, one) > 0.5
    late = pictures(source, model=model, conditions={"control_start": 0.5})
    assert away(late, one) > 0.5
    assert away(late, window) > 0.5
    with pytest.raises(ValueError, match=r"expected one for each of \['lighting', 'segmentation'\]"):
        pictures(source, model=model, conditions=each)


@pytest.mark.slow
def test_the_tiny_decoder_and_tiles(source: Path, bundle: Path) -> None:
    made = samples(source, model={"bundle": str(bundle), "decoder": "tiny"})
    assert all(metadata["decoder"] == "tiny" for _, metadata in made.values())
    assert away([picture for picture, _ in made.values()], pictures(source)) > 1
    whole, tiled = (pictures(source, conditions=FULL_SIZE, model={"decode_tile": edge}) for edge in (None, 64))
    assert 0 < away(whole, tiled) < 8
    shutil.rmtree(bundle / "tiny_decoder")
    with pytest.raises(BundleError, match="tiny_decoder"):
        pictures(source, model={"bundle": str(bundle), "decoder": "tiny"})


@pytest.mark.slow
def test_prompts_and_noise_on_the_way_to_others(source: Path) -> None:
    far = {"variants": 3, "seed": 5, "seed_to": 9, "prompt": "white teeth", "prompt_to": "yellow teeth, inflamed gum"}
    made = samples(source, sampling=far)
    by_share = {m["share"]: picture for picture, m in made.values() if m["source_key"] == first(made)}
    assert sorted(by_share) == [0.0, 0.5, 1.0]
    begin = samples(source, sampling={"variants": 1, "seed": 5, "prompt": far["prompt"]})
    end = samples(source, sampling={"variants": 1, "seed": 9, "prompt": far["prompt_to"]})
    for share, alone in ((0.0, begin), (1.0, end)):
        picture = next(picture for picture, metadata in alone.values() if metadata["source_key"] == first(made))
        assert away([by_share[share]], [picture]) < 0.02, "the ends are what they would be alone"
    straight = canvas_of(source, 1, sampling={**far, "interpolation": "lerp"}).prompt.values
    embed = generator_of(source).prompts.embed
    torch.testing.assert_close(straight, (embed("white teeth") + embed("yellow teeth, inflamed gum")) / 2)
    assert not torch.allclose(straight, canvas_of(source, 1, sampling=far).prompt.values)
    by_itself = halfway(samples(source, sampling=far, engine={"slots": 1, "control_slots": 1}))
    assert away(by_itself, halfway(made)) < 0.05, "its own control, not that of a variant with another prompt"
    still = samples(source, sampling={**far, "seed_to": 5, "prompt_to": None})
    assert len({picture.tobytes() for picture, m in still.values() if m["source_key"] == first(made)}) == 1


def halfway(made: Mapping[str, tuple[Picture, dict[str, Any]]]) -> list[Picture]:
    return [picture for picture, metadata in made.values() if metadata["share"] == 0.5]


def first(made: Mapping[str, tuple[Picture, dict[str, Any]]]) -> str:
    return min(metadata["source_key"] for _, metadata in made.values())


def test_pictures_that_no_condition_decides_are_refused(source: Path, bundle: Path) -> None:
    shutil.rmtree(bundle / "controlnet")
    with pytest.raises(SpecError) as caught:
        unit(source, model={"bundle": str(bundle), "adapters": {}})
    assert caught.value.key == "conditions.use"
    with pytest.raises(SpecError) as caught:
        unit(source, conditions={"control_start": 0.3, "control_end": 0.4})
    assert caught.value.key == "conditions.control_start, control_end"
    with pytest.raises(ValueError, match="control_start"):
        unit(source, conditions={"control_start": 0.9, "control_end": 0.1})


def test_a_decoder_that_overflows_gives_no_black_pictures(source: Path) -> None:
    plan = make_plan(small_spec(source, source.parent / "out"))
    generator = load_planned_generator(plan)
    broken = generator.codec
    decode = broken._whole

    def overflow(batch: torch.Tensor, **options: Any) -> Any:
        decoded = decode(batch, **options)[0]
        decoded[1, 0, 5, 5] = float("inf")
        return (decoded,)

    broken._whole = overflow
    made = generate_unit(plan, generator, plan.units[0], list_shards(str(source))[0], start_engine(generator).run)
    assert (made.record.written, made.record.rejected) == (3, 1)
    (reason,) = [sample.reason for sample in made.record.samples if sample.status == "rejected"]
    assert "not finite" in reason


def test_a_failing_control_fails_the_unit_which_can_be_tried_again(source: Path) -> None:
    plan = make_plan(small_spec(source, source.parent / "out"))
    generator = load_planned_generator(plan)

    def failing(canvases: Any) -> dict[str, ControlError]:
        return {canvas.key: ControlError(f"{canvas.key}: control branch blended failed") for canvas in canvases}

    with pytest.raises(ControlError, match="control branch blended failed"):
        generate_unit(plan, generator, plan.units[0], list_shards(str(source))[0], failing)


@pytest.mark.integration
def test_a_scheduler_that_cannot_be_used_is_refused_before_the_plan_stands(source: Path, tmp_path: Path) -> None:
    for options, key in (({"clip_sample": True}, "clip_sample"), ({"beta_start": "1e-4"}, "beta_start")):
        spec = small_spec(source, tmp_path / "o", sampling={"scheduler": "ddim", "scheduler_options": options})
        with pytest.raises(DentgenError, match=key):
            build(spec, use_ray=False)
    assert build(small_spec(source, tmp_path / "o"), use_ray=False).index.written == 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_graph_without_a_gpu_is_refused(source: Path) -> None:
    with pytest.raises(SpecError) as caught:
        pictures(source, engine={"cuda_graph": True})
    assert caught.value.key == "engine.cuda_graph"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_captured_tick_makes_the_same_bits(source: Path) -> None:
    captured = pictures(source, engine={"cuda_graph": True})
    assert all((a == b).all() for a, b in zip(captured, pictures(source), strict=True))


@pytest.mark.slow
def test_compiled_networks_make_the_same_pictures(source: Path) -> None:
    """Within rounding; on the CPU too, so that the path is run where no GPU is."""
    compiled = pictures(source, engine={"compile": True})
    torch.compiler.reset()
    assert max(np.abs(a - b).max() for a, b in zip(compiled, pictures(source), strict=True)) <= 1


def test_a_reference_is_kept_in_the_left_frame(source: Path) -> None:
    first, relit = (canvas_of(source, variant, **REFERENCE) for variant in range(2))
    photo = canvas_of(source, sampling={"start_from": "photo"}).image
    assert photo is not None
    for canvas in (first, relit):
        assert canvas.image is not None
        assert torch.equal(canvas.image, torch.cat([photo, photo], -1))
        assert canvas.repaint is not None
        assert canvas.repaint.keep[:, :8].all()
        assert not canvas.repaint.keep[:, 8:].any()
    own, other = (canvas.controls[0].condition.values.chunk(2, -1) for canvas in (first, relit))
    assert torch.equal(own[0], own[1]), "the reference's own light"
    assert torch.equal(other[0], own[0])
    assert not torch.equal(other[1], own[1]), "the other light"
    assert first.controls[0].condition.name != relit.controls[0].condition.name


@pytest.mark.integration
def test_two_frames_equal_a_sequential_loop(source: Path) -> None:
    """diffusers' scheduler on a canvas of two frames, the left one replaced by the noisy photo after every step."""
    generator, canvas = generator_of(source, **REFERENCE), canvas_of(source, 1, **REFERENCE)
    found = start_engine(generator).run([canvas])[canvas.key]
    assert isinstance(found, torch.Tensor)
    scheduler = UniPCMultistepScheduler.from_pretrained(find_bundle("miniature") / "scheduler")
    scheduler.set_timesteps(3)
    (control,) = generator.bundle.shared.values()
    noise, condition = canvas.noise.normal("initial", 0, (4, 8, 16))[None], canvas.controls[0].condition.values[None]
    assert canvas.image is not None
    latents, image = noise, canvas.image[None]
    with torch.no_grad():
        for number, timestep in enumerate(scheduler.timesteps):
            embeds, steps = canvas.prompt.values[None], timestep[None]
            *down, middle = control_residuals(control, condition, steps, embeds)
            predicted = generator.bundle.unet(
                latents, steps, embeds, down_block_additional_residuals=down, mid_block_additional_residual=middle
            ).sample
            latents = scheduler.step(predicted, timestep, latents).prev_sample
            last = number + 1 == len(scheduler.timesteps)
            kept = image if last else scheduler.add_noise(image, noise, scheduler.timesteps[number + 1 : number + 2])
            latents = torch.cat([kept[..., :8], latents[..., 8:]], -1)
    torch.testing.assert_close(found, latents[0], atol=2e-4, rtol=2e-4)


@pytest.mark.integration
def test_a_build_of_references_draws_right_frames_alone(source: Path) -> None:
    made = samples(source, **REFERENCE)
    assert {picture.shape for picture, _ in made.values()} == {(64, 64, 3)}
    for key, (_, metadata) in made.items():
        assert metadata["start_from"] == "reference"
        assert metadata["changed"] == ("lighting" if key.endswith("-v001") else "")
        assert not metadata["synthetic"], "a photograph went into it"
    again = samples(source, **REFERENCE)
    assert all((picture == again[key][0]).all() for key, (picture, _) in made.items())


def test_scales_by_class_hold_in_both_frames(source: Path) -> None:
    scales = {"blended": {"tooth": 1.5, "background": 0.5}}
    where = canvas_of(source, 1, **REFERENCE, model={"adapters": scales}).controls[0].where
    assert where is not None
    assert where.shape == (8, 16)
    assert torch.equal(where[:, :8], where[:, 8:])
