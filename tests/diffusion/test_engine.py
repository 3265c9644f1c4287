"""The stream batch against diffusers, one picture at a time, on the real miniature."""

from __future__ import annotations

import pytest
import torch

from dentgen.diffusion.canvas import Canvas, Named
from dentgen.diffusion.engine import DiffusionEngine, EngineShape
from dentgen.diffusion.solver import SolverTable, probe_solver
from dentgen.errors import EngineError
from dentgen.models.bundle import Bundle
from dentgen.models.control import control_residuals
from dentgen.models.networks import ControlBranch, UNetDenoiser
from dentgen.models.schedulers import SchedulerName, make_scheduler
from dentgen.models.text import PromptEncoder
from dentgen.seeding import NoiseKey

LATENT = (4, 16, 16)
PROMPTS = ("a photo of both teeth, front view", "yellow teeth, red gums", "")


def table_of(bundle: Bundle, name: SchedulerName, steps: int) -> SolverTable:
    return probe_solver(make_scheduler(name, bundle.folder), steps)


def engine_of(bundle: Bundle, *, slots: int = 6, control_slots: int = 4, columns: int = 24) -> DiffusionEngine:
    tokens, width = PromptEncoder(bundle.tokenizer, bundle.text_encoder).shape
    shape = EngineShape(slots, control_slots, 16, tokens, width, columns)
    assert bundle.control is not None
    return DiffusionEngine(
        UNetDenoiser(bundle.unet), ControlBranch(bundle.control), shape, torch.device("cpu"), torch.float32
    )


def condition(number: int) -> Named:
    generator = torch.Generator().manual_seed(100 + number)
    return Named(f"condition {number}", torch.randn(LATENT, generator=generator))


def prompt(bundle: Bundle, text: str) -> Named:
    return Named(text, PromptEncoder(bundle.tokenizer, bundle.text_encoder).embed(text))


@torch.no_grad()
def sequential(bundle: Bundle, name: SchedulerName, steps: int, canvas: Canvas) -> torch.Tensor:
    """diffusers' own loop for one canvas: its scheduler, its networks, batch one."""
    scheduler = make_scheduler(name, bundle.folder)
    scheduler.set_timesteps(steps)
    latents = canvas.noise.normal("initial", 0, LATENT)[None] * scheduler.init_noise_sigma
    for k, t in enumerate(scheduler.timesteps):
        x = scheduler.scale_model_input(latents, t)
        guided = []
        for row in canvas.rows():
            embeds = row.prompt.values[None]
            extra = {}
            if canvas.condition is not None:
                found = control_residuals(bundle.control, canvas.condition.values[None], t[None], embeds)  # type: ignore[arg-type]
                scaled = [r * canvas.conditioning_scale for r in found]
                extra = {"down_block_additional_residuals": scaled[:-1], "mid_block_additional_residual": scaled[-1]}
            guided.append(row.weight * bundle.unet(x, t, embeds, **extra).sample)
        if name == "lcm":  # its noise comes from our stream, not from a batch-shaped draw
            step = scheduler.step(sum(guided), t, latents)
            latents = step.denoised
            if k + 1 < len(scheduler.timesteps):
                abar = scheduler.alphas_cumprod[scheduler.timesteps[k + 1]]
                noise = canvas.noise.normal("injected", k, LATENT)[None]
                latents = abar.sqrt() * latents + (1 - abar).sqrt() * noise
        else:
            latents = scheduler.step(sum(guided), t, latents).prev_sample
    return latents[0]


def mixed_canvases(bundle: Bundle) -> list[tuple[SchedulerName, int, Canvas]]:
    """Keys, prompts, conditions, schedulers, step counts and guidance all differ within one batch."""
    plans: list[tuple[SchedulerName, int, int | None, str, float, float]] = [
        ("unipc", 4, 0, PROMPTS[0], 1.0, 1.0),
        ("unipc", 4, 0, PROMPTS[0], 1.0, 1.0),
        ("unipc", 8, 1, PROMPTS[1], 1.0, 0.7),
        ("lcm", 4, 1, PROMPTS[0], 1.0, 1.0),
        ("ddim", 12, 2, PROMPTS[2], 1.0, 1.0),
        ("unipc", 4, 2, PROMPTS[1], 3.0, 1.0),
        ("ddim", 6, None, PROMPTS[0], 2.0, 1.0),
        ("unipc", 5, 3, PROMPTS[0], 1.0, 1.0),
    ]
    canvases = []
    for number, (name, steps, control, text, guidance, scale) in enumerate(plans):
        canvases.append(
            (
                name,
                steps,
                Canvas(
                    key=f"canvas {number}",
                    noise=NoiseKey(7, f"record {number // 2}", number),
                    table=table_of(bundle, name, steps),
                    prompt=prompt(bundle, text),
                    negative_prompt=prompt(bundle, ""),
                    guidance_scale=guidance,
                    condition=None if control is None else condition(control),
                    conditioning_scale=scale,
                ),
            )
        )
    return canvases


def test_mixed_batch_equals_sequential_diffusers(miniature: Bundle) -> None:
    canvases = mixed_canvases(miniature)
    found = engine_of(miniature).run(canvas for _, _, canvas in canvases)
    assert sorted(found) == sorted(canvas.key for _, _, canvas in canvases)
    for name, steps, canvas in canvases:
        expected = sequential(miniature, name, steps, canvas)
        error = float((found[canvas.key] - expected).norm() / expected.norm())
        assert error < 1e-4, f"{canvas.key}: {name} {steps}: {error:.1e}"


def simple(bundle: Bundle, number: int, control: Named, table: SolverTable) -> Canvas:
    return Canvas(f"c{number}", NoiseKey(1, f"r{number}", 0), table, prompt(bundle, PROMPTS[0]), condition=control)


def test_bits_do_not_depend_on_neighbours_or_order(miniature: Bundle) -> None:
    table = table_of(miniature, "unipc", 4)
    canvases = [simple(miniature, n, condition(n % 3), table) for n in range(9)]
    together = engine_of(miniature).run(canvases)
    backwards = engine_of(miniature).run(reversed(canvases))
    alone = engine_of(miniature).run(canvases[4:5])
    for key, latents in together.items():
        assert torch.equal(latents, backwards[key])
    assert torch.equal(alone["c4"], together["c4"])


def test_swapping_two_conditions_swaps_exactly_their_pictures(miniature: Bundle) -> None:
    table = table_of(miniature, "unipc", 4)

    def run(first: int, second: int) -> list[torch.Tensor]:
        noise = NoiseKey(1, "same", 0)
        text = prompt(miniature, PROMPTS[0])
        canvases = [
            Canvas(f"c{i}", noise, table, text, condition=condition(number)) for i, number in enumerate((first, second))
        ]
        other = simple(miniature, 9, condition(5), table)
        found = engine_of(miniature).run([*canvases, other])
        return [found["c0"], found["c1"], found["c9"]]

    straight, swapped = run(0, 1), run(1, 0)
    assert torch.equal(straight[0], swapped[1])
    assert torch.equal(straight[1], swapped[0])
    assert torch.equal(straight[2], swapped[2])
    assert not torch.equal(straight[0], straight[1])


def test_control_runs_once_for_variants_of_a_condition(miniature: Bundle) -> None:
    table = table_of(miniature, "unipc", 4)
    engine = engine_of(miniature, slots=4, control_slots=1)

    def ticks(canvases: list[Canvas]) -> int:
        for canvas in canvases:
            engine.submit(canvas)
        count = 0
        while not engine.idle:
            engine.tick()
            count += 1
        return count

    same = [simple(miniature, n, condition(0), table) for n in range(4)]
    different = [simple(miniature, n, condition(n), table) for n in range(2)]
    assert ticks(same) == 4, "four variants of one condition fit into one control slot and finish together"
    assert ticks(different) == 8, "a second condition waits for the only control slot"


def test_what_can_never_fit_is_refused_alone(miniature: Bundle) -> None:
    engine = engine_of(miniature, slots=1, control_slots=1)
    table = table_of(miniature, "unipc", 4)
    good = simple(miniature, 0, condition(0), table)
    guided = Canvas("guided", good.noise, table, good.prompt, prompt(miniature, ""), 2.0, good.condition)
    with pytest.raises(EngineError, match="guided: needs 2 rows"):
        engine.submit(guided)
    long = Canvas("long", good.noise, table_of(miniature, "ddim", 40), good.prompt, condition=good.condition)
    with pytest.raises(EngineError, match=r"long: .* keeps 41 latents"):
        engine.submit(long)
    assert list(engine.run([good])) == ["c0"]


def test_a_diverged_canvas_does_not_touch_its_neighbours(miniature: Bundle) -> None:
    table = table_of(miniature, "unipc", 4)
    good = simple(miniature, 0, condition(0), table)
    poison = simple(miniature, 1, Named("poison", torch.full(LATENT, float("nan"))), table)
    found = engine_of(miniature).run([poison, good])
    assert not bool(torch.isfinite(found["c1"]).any())
    assert torch.equal(found["c0"], engine_of(miniature).run([good])["c0"])
    engine = engine_of(miniature, slots=1, control_slots=1)
    engine.run([poison])
    assert bool(torch.isfinite(engine.run([good])["c0"]).all()), "a slot is clean after a diverged canvas"
