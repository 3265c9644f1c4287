"""Guidance: residual guidance against the recurrence of its authors, and the rows and weights of every method."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch

from dentgen.diffusion.canvas import Canvas
from dentgen.diffusion.guidance import Guidance, GuidanceMethod
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.errors import CanvasError
from dentgen.models.bundle import Bundle
from dentgen.models.control import control_residuals
from dentgen.models.schedulers import make_scheduler
from dentgen.seeding import NoiseKey
from dentgen.spec.sampling import SchedulerName
from tests.diffusion.parts import (
    LATENT,
    PROMPTS,
    build_engine,
    latents,
    prompt,
    random_latents,
    relative_error,
    sample_one,
    simple,
    table_of,
)

STEPS = 4
METHODS: tuple[GuidanceMethod, ...] = get_args(GuidanceMethod)
NEGATIVE = KeyedTensor("negative", torch.zeros(1))


@torch.no_grad()
def stream_diffusion(bundle: Bundle, canvas: Canvas, method: GuidanceMethod) -> torch.Tensor:
    """Residual guidance of an LCM run as a recurrence of the residual noise s (StreamDiffusion, section 3.2).

    With a, b the factors of signal and noise: u = delta s, and after a step D = (b s - b e) / a carries s to the next
    level, s <- n + a' D / b'. It starts from the noise n_0 that is actually in the latents.
    """
    scheduler = make_scheduler("lcm", bundle.folder)
    scheduler.set_timesteps(STEPS)
    guidance = canvas.guidance
    steps = scheduler.timesteps[-canvas.table.num_steps :]
    a = scheduler.alphas_cumprod[steps].sqrt().double()
    b = (1 - scheduler.alphas_cumprod[steps]).sqrt().double()
    noise = canvas.noise.normal("initial", 0, LATENT)[None].double()
    image = torch.zeros_like(noise) if canvas.image is None else canvas.image[None].double()
    x = a[0] * image + b[0] * noise if canvas.table.start_signal else noise
    s = (x - a[0] * image) / b[0]
    for k, t in enumerate(steps):
        e = predict(bundle, canvas, x, t, canvas.prompt.values)
        if method == "initialize" and k == 0:
            assert guidance.negative is not None
            s = predict(bundle, canvas, x, t, guidance.negative.values)
        u = guidance.delta * s
        e = u + guidance.scale * (e - u)
        clean = (x - b[k] * e) / a[k]
        if k + 1 == len(steps):
            return clean[0]
        difference = (b[k] * s - b[k] * e) / a[k]
        fresh = canvas.noise.normal("injected", k, LATENT)[None].double()
        x = a[k + 1] * clean + b[k + 1] * fresh
        s = fresh + a[k + 1] * difference / b[k + 1]
    raise AssertionError


def predict(bundle: Bundle, canvas: Canvas, x: torch.Tensor, t: torch.Tensor, embeds: torch.Tensor) -> torch.Tensor:
    condition = canvas.controls[0].condition.values[None]
    assert bundle.control is not None
    residuals = control_residuals(bundle.control, condition, t[None], embeds[None])
    found: torch.Tensor = bundle.unet(
        x.float(), t, embeds[None], down_block_additional_residuals=residuals[:-1],
        mid_block_additional_residual=residuals[-1],
    ).sample  # fmt: skip
    return found.double()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["self", "initialize"])
@pytest.mark.parametrize(("strength", "delta"), [(1.0, 1.0), (0.75, 1.0), (0.5, 0.8)])
def test_residual_guidance_equals_its_recurrence(
    miniature: Bundle, method: GuidanceMethod, strength: float, delta: float
) -> None:
    table = table_of(miniature, "lcm", STEPS, strength=strength)
    guidance = Guidance(1.4, method, prompt(miniature, PROMPTS[1]), delta)
    image = random_latents(9) if strength < 1 else None
    canvas = simple(miniature, 0, 1, table, guidance=guidance, image=image)
    plain = simple(miniature, 1, 1, table, image=image)
    found = build_engine(miniature).run([plain, canvas])
    expected = stream_diffusion(miniature, canvas, method).float()
    assert relative_error(latents(found["c0"]), expected) < 1e-4
    assert relative_error(latents(found["c1"]), expected) > 0.01, "guidance has an effect"


@pytest.mark.parametrize("name", ["unipc", "euler", "dpmpp_2m"])
def test_one_step_of_initialize_is_full_guidance(miniature: Bundle, name: SchedulerName) -> None:
    table = table_of(miniature, name, 1)
    negative = prompt(miniature, PROMPTS[1])
    methods: tuple[GuidanceMethod, ...] = ("full", "initialize")
    noise = NoiseKey(1, "same", 0)
    canvases = [
        simple(miniature, n, 1, table, guidance=Guidance(2.0, method, negative), noise=noise)
        for n, method in enumerate(methods)
    ]
    found = build_engine(miniature).run(canvases)
    assert relative_error(latents(found["c1"]), latents(found["c0"])) < 1e-5


@pytest.mark.integration
def test_a_scale_of_one_disables_guidance(miniature: Bundle) -> None:
    table = table_of(miniature, "unipc", 4)
    unguided = sample_one(miniature, simple(miniature, 0, 0, table))
    for method in METHODS:
        guidance = Guidance(1.0, method, prompt(miniature, PROMPTS[1]))
        assert torch.equal(unguided, sample_one(miniature, simple(miniature, 0, 0, table, guidance=guidance)))


@pytest.mark.parametrize(("method", "rows"), [("full", (2, 2)), ("self", (1, 1)), ("initialize", (2, 1))])
def test_rows_of_every_method(method: GuidanceMethod, rows: tuple[int, int]) -> None:
    guidance, prompted = Guidance(3.0, method, NEGATIVE, 0.8), KeyedTensor("prompt", torch.zeros(1))
    assert tuple(len(guidance.rows(prompted, step)) for step in (0, 1)) == rows
    weights = {row.prompt.name: row.weight for row in guidance.rows(prompted, 0)}
    assert weights["prompt"] == 3.0
    if method != "self":
        assert weights["negative"] == pytest.approx(-2.0 if method == "full" else -2.0 * 0.8)


@pytest.mark.parametrize("method", ["full", "initialize"])
def test_a_missing_negative_prompt_is_an_error(miniature: Bundle, method: GuidanceMethod) -> None:
    with pytest.raises(CanvasError) as caught:
        Guidance(2.0, method).check("c0", table_of(miniature, "unipc", 4))
    assert (caught.value.key, caught.value.found) == ("c0", "no negative prompt")


def test_residual_guidance_needs_an_epsilon_model(miniature: Bundle) -> None:
    velocity = replace(table_of(miniature, "unipc", 4), prediction_type="v_prediction")
    with pytest.raises(CanvasError) as caught:
        Guidance(2.0, "self").check("c0", velocity)
    error = caught.value
    assert (error.key, error.found, error.expected) == ("c0", "prediction type v_prediction", "prediction type epsilon")
    Guidance(2.0, "full", NEGATIVE).check("c0", velocity)


def test_residual_guidance_needs_signal_at_every_step(miniature: Bundle) -> None:
    table = table_of(miniature, "unipc", 4)
    without_signal = replace(table, signal=table.signal * torch.tensor([0.0, 1.0, 1.0, 1.0]))
    with pytest.raises(CanvasError) as caught:
        Guidance(2.0, "self").check("c0", without_signal)
    assert (caught.value.key, caught.value.expected) == ("c0", "signal and noise at every step")
