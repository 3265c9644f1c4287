"""Ways of sampling, from the spec to the shard: what a build does for each of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, UniPCMultistepScheduler
from numpy.typing import NDArray
from PIL import Image

from dentgen.conditions.labels import GINGIVA, TOOTH
from dentgen.conditions.readers.source import list_shards
from dentgen.conditions.unit_records import read_unit
from dentgen.diffusion.canvas import Canvas
from dentgen.diffusion.solver import probe_solver
from dentgen.errors import BundleError, ControlError, DentgenError, SpecError
from dentgen.generation.canvases import build_canvases, sample_requests
from dentgen.generation.engines import start_engine
from dentgen.generation.generator import Generator, load_generator, load_planned_generator
from dentgen.generation.unit import generate_unit
from dentgen.models.bundle import Bundle, find_bundle
from dentgen.models.control import control_residuals
from dentgen.pipeline.plan import make_plan
from dentgen.pipeline.run import build
from dentgen.shards.ledger import UnitResult
from dentgen.shards.reader import read_samples, tar_samples
from dentgen.spec.build import BuildSpec
from tests.conftest import small_spec, write_tar
from tests.diffusion.parts import full_control, inpainting_unet

Members = dict[str, dict[str, bytes]]
Picture = NDArray[np.int16]

#: Of the demo's maps and photos, so that nothing is resized.
FULL_SIZE: dict[str, object] = {"size": 128}


@pytest.fixture
def source(tmp_path: Path, demo_members: Members) -> Path:
    keys = sorted(demo_members)[:2]
    write_tar(tmp_path / "s" / "x.tar", {key: demo_members[key] for key in keys})
    return tmp_path / "s"


def spec_of(source: Path, sections: Mapping[str, Mapping[str, object]]) -> BuildSpec:
    """A small build in four steps, so that parts of the steps and windows of control differ."""
    values = {name: dict(section) for name, section in sections.items()}
    values["sampling"] = {"steps": 4, **values.get("sampling", {})}
    return small_spec(source, source.parent / "out", **values)


def unit(source: Path, **sections: Mapping[str, object]) -> UnitResult:
    plan = make_plan(spec_of(source, sections))
    generator = load_planned_generator(plan)
    return generate_unit(plan, generator, plan.units[0], list_shards(str(source))[0], start_engine(generator).run)


def generator_of(source: Path, **sections: Mapping[str, object]) -> Generator:
    return load_generator(spec_of(source, sections))


def canvas_of(source: Path, variant: int = 0, /, **sections: Mapping[str, object]) -> Canvas:
    """Canvas of one variant of the first record."""
    generator = generator_of(source, **sections)
    plan = make_plan(generator.spec)
    records, _ = read_unit(generator.spec, plan.units[0], list_shards(str(source))[0])
    return build_canvases(generator, sample_requests(generator, records[0]))[variant]


def samples(source: Path, **sections: Mapping[str, object]) -> dict[str, tuple[Picture, dict[str, Any]]]:
    """Pictures and metadata by key."""
    result = unit(source, **sections)
    assert not result.record.rejected, [sample.reason for sample in result.record.samples]
    return {
        key: (image(members["png"]).astype(np.int16), json.loads(members["json"]))
        for key, members in tar_samples(result.shard)
    }


def image(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(content)))


def pictures(source: Path, **sections: Mapping[str, object]) -> list[Picture]:
    return [picture for picture, _ in samples(source, **sections).values()]


def away(one: list[Picture], other: list[Picture]) -> float:
    """Mean difference, levels."""
    return float(np.mean([np.abs(a - b).mean() for a, b in zip(one, other, strict=True)]))


@pytest.fixture
def bundle(tmp_path: Path, miniature: Bundle) -> Path:
    """The miniature with a ControlNet of a pixel hint, a second adapter and a tiny decoder beside what it has."""
    folder = Path(shutil.copytree(find_bundle("miniature"), tmp_path / "bundle"))
    whole, _ = full_control(miniature)
    whole.save_pretrained(folder / "controlnets" / "edges")
    shutil.copytree(folder / "adapters" / "blended", folder / "adapters" / "segmentation", dirs_exist_ok=True)
    tiny = AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8, 8),
        num_encoder_blocks=(1, 1, 1, 1), num_decoder_blocks=(1, 1, 1, 1),
    )  # fmt: skip
    tiny.save_pretrained(folder / "tiny_decoder")
    return folder


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


def test_a_photo_of_another_shape_is_refused(source: Path, demo_members: Members) -> None:
    key = sorted(demo_members)[0]
    buffer = BytesIO()
    Image.fromarray(image(demo_members[key]["photo.png"])[:64]).save(buffer, format="PNG")
    write_tar(source / "x.tar", {key: {**demo_members[key], "photo.png": buffer.getvalue()}})
    result = unit(source, sampling={"start_from": "photo", "strength": 0.5})
    (reason,) = {sample.reason for sample in result.record.samples}
    assert all(fact in reason for fact in ("x.tar", f"{key}.photo.png", "128 x 64", "128 x 128"))


def test_what_the_way_of_sampling_needs_is_named(tmp_path: Path, demo_members: Members) -> None:
    key = sorted(demo_members)[0]
    bare = {name: content for name, content in demo_members[key].items() if not name.startswith("photo")}
    write_tar(tmp_path / "s" / "x.tar", {key: bare})
    result = unit(tmp_path / "s", sampling={"start_from": "photo", "strength": 0.5})
    (reason,) = {sample.reason for sample in result.record.samples}
    assert all(fact in reason for fact in ("x.tar", key, "photo", "sampling.start_from"))


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


@pytest.mark.integration
def test_records_without_a_segmentation_have_no_scales_by_class(tmp_path: Path, demo_members: Members) -> None:
    key = sorted(demo_members)[0]
    members = {name: content for name, content in demo_members[key].items() if name not in {"seg.png", "fdi.png"}}
    write_tar(tmp_path / "s" / "x.tar", {key: members})
    result = unit(tmp_path / "s", conditions={"use": ["normal"]}, model={"adapters": {"normal": {"tooth": 1.5}}})
    (reason,) = {sample.reason for sample in result.record.samples}
    assert all(fact in reason for fact in ("x.tar", key, "seg", "the scale of normal"))


@pytest.mark.slow
def test_a_unet_that_sees_the_mask(source: Path, bundle: Path, miniature: Bundle) -> None:
    inpainting_unet(miniature).save_pretrained(bundle / "unet")
    way = {"start_from": "photo", "repaint": ["tooth"]}
    assert len(samples(source, model={"bundle": str(bundle)}, sampling=way)) == 4
    with pytest.raises(SpecError) as caught:
        unit(source, model={"bundle": str(bundle)})
    assert caught.value.key == "sampling.repaint"


@pytest.mark.slow
def test_what_is_kept_is_what_the_mask_shows(source: Path, bundle: Path, miniature: Bundle) -> None:
    """The masked picture lacks what is painted, and a latent is kept only if every pixel of it is."""
    inpainting_unet(miniature).save_pretrained(bundle / "unet")
    way: dict[str, object] = {"start_from": "photo", "repaint": ["tooth"]}
    model: dict[str, object] = {"bundle": str(bundle)}
    spec = small_spec(source, source.parent / "out", conditions=FULL_SIZE, model=model, sampling=way)
    plan, generator = make_plan(spec), load_generator(spec)
    records, _ = read_unit(spec, plan.units[0], list_shards(str(source))[0])
    canvas = build_canvases(generator, sample_requests(generator, records[0]))[0]
    teeth = records[0].conditions["segmentation"] == TOOTH
    assert records[0].photo is not None
    (expected,) = generator.codec.encode_masked([records[0].photo], [~teeth])
    assert canvas.repaint is not None
    assert canvas.repaint.masked is not None
    assert torch.equal(canvas.repaint.masked, expected)
    for y, x in np.ndindex(16, 16):
        assert bool(canvas.repaint.keep[y, x]) == (not teeth[8 * y : 8 * y + 8, 8 * x : 8 * x + 8].any())


@pytest.mark.slow
def test_each_variant_shows_the_mask_of_its_own_findings(source: Path, bundle: Path, miniature: Bundle) -> None:
    """Variants of one record draw different findings, so a UNet that sees the mask sees different ones."""
    inpainting_unet(miniature).save_pretrained(bundle / "unet")
    asked = {"teeth": [11, 21], "probability": 0.5, "kind": "restoration", "part": "whole", "prompt": "gold crown"}
    spec = small_spec(
        source, source.parent / "out", model={"bundle": str(bundle)}, findings=[asked],
        sampling={"start_from": "photo", "repaint": ["gingiva"], "variants": 4},
    )  # fmt: skip
    plan, generator = make_plan(spec), load_generator(spec)
    records, _ = read_unit(spec, plan.units[0], list_shards(str(source))[0])
    requests = sample_requests(generator, records[0])
    canvases = build_canvases(generator, requests)
    masks = {request.finding_labels.tobytes() for request in requests if request.finding_labels is not None}
    shown = {
        canvas.repaint.masked.numpy().tobytes()
        for canvas in canvases
        if canvas.repaint and canvas.repaint.masked is not None
    }
    assert len(masks) == len(shown) > 1


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


@pytest.mark.integration
def test_long_prompts(source: Path) -> None:
    long = "a photo of both teeth, " + ", ".join(["white enamel, pink gum"] * 20)
    refused = unit(source, sampling={"prompt": long})
    assert refused.record.written == 0
    assert all("tokens" in sample.reason for sample in refused.record.samples)
    cut = samples(source, sampling={"prompt": long, "long_prompts": "truncate"})
    assert all("did not read the end of a prompt" in " ".join(m["warnings"]) for _, m in cut.values())
    chunked = samples(source, sampling={"prompt": long, "long_prompts": "chunk", "prompt_chunks": 4})
    assert all(m["warnings"] == [] for _, m in chunked.values())
    embedded = [canvas_of(source, sampling={"prompt": long, **way}).prompt.values for way in (
        {"long_prompts": "truncate"}, {"long_prompts": "chunk", "prompt_chunks": 4})]  # fmt: skip
    assert [len(values) for values in embedded] == [77, 4 * 77]
    assert torch.equal(embedded[1][:77], embedded[0]), "the first window holds what truncation keeps"


@pytest.mark.integration
@pytest.mark.parametrize("key", ["negative_prompt", "prompt_to"])
def test_a_prompt_of_the_spec_that_is_too_long_is_refused_at_once(source: Path, key: str) -> None:
    with pytest.raises(SpecError) as caught:
        unit(source, sampling={key: "enamel " * 90, "guidance_scale": 2.0})
    assert caught.value.key == f"sampling.{key}"
    cut = unit(source, sampling={key: "enamel " * 90, "guidance_scale": 2.0, "long_prompts": "truncate"})
    assert all("did not read the end" in " ".join(sample.warnings) for sample in cut.record.samples)


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


REFERENCE: dict[str, Mapping[str, object]] = {
    "sampling": {"start_from": "reference", "steps": 3},
    "variants": {"same_noise": True, "change": ["lighting"]},
}


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


def test_a_record_without_photo_has_no_reference(source: Path, tmp_path: Path, demo_members: Members) -> None:
    key = min(demo_members)
    bare = {name: content for name, content in demo_members[key].items() if name != "photo.png"}
    write_tar(tmp_path / "bare" / "x.tar", {key: bare})
    result = unit(tmp_path / "bare", **REFERENCE)
    assert [sample.status for sample in result.record.samples] == ["rejected"] * 2
    assert "reference" in result.record.samples[0].reason
