"""Residual guidance against the recurrence that its authors publish, and against its definition."""

from __future__ import annotations

import pytest
import torch

from dentgen.diffusion.canvas import Canvas
from dentgen.diffusion.guidance import Guidance, GuidanceMethod
from dentgen.errors import CanvasError
from dentgen.models.bundle import Bundle
from dentgen.models.control import control_residuals
from dentgen.models.schedulers import make_scheduler
from dentgen.seeding import NoiseKey
from tests.diffusion.parts import LATENT, PROMPTS, build_engine, latents, prompt, random_latents, simple, table_of

STEPS = 4


@torch.no_grad()
def stream_diffusion(bundle: Bundle, canvas: Canvas, method: GuidanceMethod) -> torch.Tensor:
    """Residual guidance of an LCM run as a recurrence of the virtual residual noise s (StreamDiffusion, section 3.2).

    With a, b the factors of signal and noise: u = delta s, and after a step D = (b s - b e) / a carries s to the next
    level, s <- n + a' D / b'. It starts from the noise n_0 that really is in the latents.
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
    residuals = control_residuals(bundle.control, condition, t[None], embeds[None])  # type: ignore[arg-type]
    found: torch.Tensor = bundle.unet(
        x.float(), t, embeds[None], down_block_additional_residuals=residuals[:-1],
        mid_block_additional_residual=residuals[-1],
    ).sample  # fmt: skip
    return found.double()


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
    error = float((latents(found["c0"]) - expected).norm() / expected.norm())
    assert error < 1e-4
    assert float((latents(found["c0"]) - latents(found["c1"])).norm() / expected.norm()) > 0.01, "it guides at all"


@pytest.mark.parametrize("name", ["unipc", "euler", "dpmpp_2m"])
def test_initialize_begins_like_full_guidance(miniature: Bundle, name: str) -> None:
    """One step of it is full guidance exactly, under every solver."""
    table = table_of(miniature, name, 1)  # type: ignore[arg-type]
    negative = prompt(miniature, PROMPTS[1])
    methods: tuple[GuidanceMethod, ...] = ("full", "initialize")
    noise = NoiseKey(1, "same", 0)
    canvases = [
        simple(miniature, n, 1, table, guidance=Guidance(2.0, method, negative), noise=noise)
        for n, method in enumerate(methods)
    ]
    found = build_engine(miniature).run(canvases)
    error = (latents(found["c0"]) - latents(found["c1"])).norm() / latents(found["c0"]).norm()
    assert float(error) < 1e-5


def test_residual_guidance_without_meaning_is_refused(miniature: Bundle) -> None:
    table = table_of(miniature, "unipc", 4)
    of_velocity = type(table)(**{f: getattr(table, f) for f in table.__slots__} | {"prediction_type": "v_prediction"})
    canvas = simple(miniature, 0, 1, of_velocity, guidance=Guidance(2.0, "self"))
    with pytest.raises(CanvasError, match="needs an epsilon model, found v_prediction"):
        build_engine(miniature).submit(canvas)
