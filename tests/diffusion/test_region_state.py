"""Laws of regions in the engine: what they equal, what they leave alone, and a float64 reference from the paper."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from dentgen.diffusion.canvas import Canvas, ControlInput, Repaint
from dentgen.diffusion.guidance import Guidance
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.regions import Bootstrap, Layers, MaskEdge, Region
from dentgen.diffusion.solver import SolverTable
from dentgen.errors import CanvasError
from dentgen.models.bundle import Bundle
from dentgen.models.schedulers import make_scheduler
from dentgen.seeding import NoiseKey
from dentgen.spec.sampling import SchedulerName
from tests.diffusion.multidiffusion_reference import Part, Start, sampled
from tests.diffusion.parts import LATENT, PROMPTS, build_engine, latents, prompt, relative_error, simple, table_of
from tests.diffusion.toy_networks import LocalDenoiser, engine, words

SIZE = 16
SOLVERS: tuple[tuple[SchedulerName, int], ...] = (("unipc", 4), ("lcm", 4), ("ddim", 5), ("euler_ancestral", 4))


@pytest.fixture(scope="module")
def lcm(miniature: Bundle) -> SolverTable:
    return table_of(miniature, "lcm", 5)


def box(top: int, bottom: int, left: int, right: int, size: int = SIZE) -> torch.Tensor:
    mask = torch.zeros(size, size)
    mask[top:bottom, left:right] = 1
    return mask


def white(size: int = SIZE) -> torch.Tensor:
    return torch.linspace(0.5, 2, 4)[:, None, None].expand(4, size, size).contiguous()


def canvas(table: SolverTable, layers: Layers | None = None, number: int = 0, **more: object) -> Canvas:
    values = {"key": f"c{number}", "noise": NoiseKey(3, f"r{number}", 0), "table": table, "prompt": words(number)}
    return Canvas(**{**values, "layers": layers or Layers(), **more})  # type: ignore[arg-type]


def of(table: SolverTable, *parts: tuple[int, torch.Tensor], bootstrap: Bootstrap | None = None) -> Layers:
    return Layers.of([Region(words(n), mask) for n, mask in parts], table, bootstrap)


def alone(sample: Canvas, **options: object) -> torch.Tensor:
    return latents(engine(**options).run([sample])[sample.key])  # type: ignore[arg-type]


@pytest.mark.integration
@pytest.mark.parametrize(("name", "steps"), SOLVERS)
def test_one_region_everywhere_is_the_plain_picture(miniature: Bundle, name: SchedulerName, steps: int) -> None:
    """On the real miniature, with control, exactly: with and without a row for the background."""
    table = table_of(miniature, name, steps)
    plain = simple(miniature, 0, 0, table)
    region = Region(plain.prompt, torch.ones(LATENT[1:]))
    other = prompt(miniature, PROMPTS[1])
    expected = latents(build_engine(miniature).run([plain])[plain.key])
    for layers in (Layers.of([region], table), Layers((region,), background=True), Layers()):
        changed = replace(plain, layers=layers, prompt=other if layers.regions else plain.prompt)
        found = latents(build_engine(miniature, regions=2).run([changed])[plain.key])
        assert torch.equal(found, expected), (layers.background, len(layers.regions))


@pytest.mark.parametrize("guidance", [Guidance(2.5, "full", words(9)), Guidance(1.3, "self")])
def test_guidance_of_one_region_everywhere_is_that_of_the_plain_picture(lcm: SolverTable, guidance: Guidance) -> None:
    plain = canvas(lcm, guidance=guidance)
    covered = replace(plain, prompt=words(5), layers=of(lcm, (0, torch.ones(SIZE, SIZE))))
    assert torch.equal(alone(covered), alone(plain, regions=0))


def test_a_region_has_its_own_negative_prompt(lcm: SolverTable) -> None:
    plain = canvas(lcm, guidance=Guidance(2.5, "full", words(8)))
    region = Region(words(0), torch.ones(SIZE, SIZE), negative=words(8))
    found = replace(plain, guidance=Guidance(2.5, "full", words(9)), layers=Layers.of([region], lcm))
    assert torch.equal(alone(found), alone(plain, regions=0))


def test_disjoint_regions_are_separate_pictures_away_from_borders(miniature: Bundle) -> None:
    """The network sees two latents far, so four steps reach eight: the middle of each half of 48 is out of reach."""
    table, size = table_of(miniature, "unipc", 4), 48
    halves = of(table, (1, box(0, size, 0, 24, size)), (2, box(0, size, 24, size, size)))
    found = alone(canvas(table, halves), size=size)
    for number, columns in ((1, slice(9, 15)), (2, slice(33, 39))):
        whole = alone(canvas(table, prompt=words(number)), size=size)
        assert torch.equal(found[..., columns], whole[..., columns]), number
    first = alone(canvas(table, prompt=words(1)), size=size)
    assert relative_error(found[..., 33:39], first[..., 33:39]) > 0.05, "prompts make a difference"


@pytest.mark.parametrize("edge", ["discrete", "continuous"])
@pytest.mark.parametrize("start", [Start(white(), 0), Start(white(), 1), Start(white(), 2, 1.5, 0.2, 2)])
def test_averages_are_those_of_the_paper(miniature: Bundle, start: Start, edge: MaskEdge) -> None:
    """Soft, overlapping masks; LCM, five steps; every step's latents against float64."""
    table, network = table_of(miniature, "lcm", 5), LocalDenoiser()
    ramp = torch.linspace(0, 1, SIZE).expand(SIZE, SIZE)
    masks = (box(1, 9, 2, 11) * 0.999, ramp.T.contiguous(), (1 - ramp) * box(6, 16, 0, 16))
    layers = Layers.of(
        [Region(words(n), mask, edge=edge) for n, mask in enumerate(masks, 1)], table,
        Bootstrap(start.white, start.steps, start.mix_steps, start.leak, start.stride) if start.steps else None,
    )  # fmt: skip
    sample = canvas(table, layers)
    found = alone(sample, centred=bool(start.stride))
    shape = (4, SIZE, SIZE)
    noises = [sample.noise.normal("initial", 0, shape)]
    noises += [sample.noise.normal("injected", step, shape) for step in range(4)]
    scheduler = make_scheduler("lcm", miniature.folder)
    scheduler.set_timesteps(5)
    model = partial(LocalDenoiser.forward, network.double())
    parts = [Part(words(n).values, mask) for n, mask in enumerate(masks, 1)]
    expected, averages = sampled(model, scheduler, parts, words(0).values, noises, start, edge == "continuous")
    assert len(averages) == 5
    assert float((found - expected).abs().max()) < 1e-4 * float(expected.abs().max())


def test_averaging_before_noise_keeps_its_variance(miniature: Bundle) -> None:
    """Predictions that are the true noise keep unit variance under soft masks: 1 within 1 %, at every step of LCM."""
    table, size = table_of(miniature, "lcm", 5), 256
    clean = torch.randn(4, size, size, generator=torch.Generator().manual_seed(5))
    variances: list[float] = []

    class Exact:
        def __call__(self, x: torch.Tensor, timesteps: torch.Tensor, *_: object) -> torch.Tensor:
            step = table.timesteps.tolist().index(float(timesteps[0]))
            variances.append(float(x[0].var()))
            return (x - float(table.signal[step]) * clean) / float(table.noise[step])

    ramp = torch.linspace(0, 1, size).expand(size, size).contiguous()
    layers = Layers.of([Region(words(1), ramp, edge="continuous"), Region(words(2), 1 - ramp)], table)
    engine(size=size, slots=3, unet=Exact()).run([canvas(table, layers)])  # type: ignore[arg-type]
    assert len(variances) == 5
    assert variances == pytest.approx([1.0] * 5, abs=0.01)


def test_moving_and_moving_back_changes_nothing(miniature: Bundle) -> None:
    """A network that works alike everywhere gives the same for a region that is moved, control included."""
    table = table_of(miniature, "ddim", 3)
    masks = ((1, box(0, 5, 0, 5)), (2, box(10, 16, 8, 16)))
    control = KeyedTensor("map", torch.randn(4, SIZE, SIZE, generator=torch.Generator().manual_seed(1)))
    controls = (ControlInput("control", control, 0.7, where=torch.linspace(0, 2, SIZE * SIZE).view(SIZE, SIZE)),)
    found = [
        alone(
            canvas(table, of(table, *masks, bootstrap=Bootstrap(white(), stride=stride)), controls=controls),
            controlled=True, centred=True,
        )
        for stride in (0, 2)
    ]  # fmt: skip
    assert torch.allclose(found[0], found[1], atol=1e-5)
    unmoved = alone(canvas(table, of(table, *masks), controls=controls), controlled=True)
    assert relative_error(found[0], unmoved) > 0.01, "white surroundings make a difference"


def test_bits_do_not_depend_on_neighbours_with_regions(lcm: SolverTable, miniature: Bundle) -> None:
    unipc = table_of(miniature, "unipc", 3)
    bootstrap = Bootstrap(white(), 1, leak=0.2, stride=2)
    canvases = [
        canvas(lcm, of(lcm, (1, box(0, 8, 0, 9)), (2, box(5, 16, 3, 16)), bootstrap=bootstrap), 0),
        canvas(unipc, None, 1),
        canvas(unipc, of(unipc, (3, box(0, 16, 0, 8) * 0.98)), 2, guidance=Guidance(2.0, "full", words(9))),
        canvas(lcm, None, 3, guidance=Guidance(1.3, "initialize", words(9))),
        canvas(lcm, of(lcm, (4, torch.ones(SIZE, SIZE)), (5, box(2, 9, 2, 9))), 4),
    ]
    together = engine(centred=True).run(canvases)
    reverse = engine(centred=True).run(reversed(canvases))
    for each in canvases:
        single = alone(each, centred=True)
        assert torch.equal(latents(together[each.key]), single), each.key
        assert torch.equal(latents(reverse[each.key]), single), each.key


def test_an_empty_region_harms_nothing(lcm: SolverTable) -> None:
    """Even where it has a row, with white around it everywhere."""
    plain = canvas(lcm)
    empty = Region(words(1), torch.zeros(SIZE, SIZE))
    bootstrap = Bootstrap(white(), 5, 5.0, leak=0.2, stride=2)
    found = alone(replace(plain, layers=Layers((empty,), background=True, bootstrap=bootstrap)), centred=True)
    assert torch.equal(found, alone(plain, regions=0))
    dropped = replace(plain, layers=Layers.of([empty], lcm, bootstrap))
    assert [row.layer for row in dropped.rows(0)] == [0], "it costs no row"


def test_a_region_without_a_finite_prediction_is_not_seen_outside(lcm: SolverTable) -> None:
    """A prompt that breaks the network breaks its region, and a region without latents breaks nothing."""
    broken = KeyedTensor("broken", torch.full_like(words(0).values, torch.nan))
    empty = Region(broken, torch.zeros(SIZE, SIZE))
    found = alone(canvas(lcm, Layers((empty,), background=True)))
    assert torch.equal(found, alone(canvas(lcm), regions=0))


def test_what_is_kept_of_a_picture_stays_beside_regions(lcm: SolverTable) -> None:
    image = torch.randn(4, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    layers = of(lcm, (1, box(0, 8, 0, 16)))
    keep = torch.ones(SIZE, SIZE, dtype=torch.bool)
    assert torch.equal(alone(canvas(lcm, layers, image=image, repaint=Repaint(keep))), image)
    keep[4:12, 4:12] = False
    found = alone(canvas(lcm, layers, image=image, repaint=Repaint(keep)))
    assert torch.equal(found[:, keep], image[:, keep])
    assert relative_error(found[:, ~keep], image[:, ~keep]) > 0.1


def test_regions_need_an_engine_with_room(lcm: SolverTable) -> None:
    layers = of(lcm, (1, box(0, 8, 0, 16)), (2, box(8, 16, 0, 9)))
    with pytest.raises(CanvasError) as caught:
        engine(regions=1).submit(canvas(lcm, layers))
    assert (caught.value.found, caught.value.key) == (2, "c0")
    with pytest.raises(CanvasError) as caught:
        engine(size=8).submit(canvas(lcm, Layers((Region(words(1), torch.ones(16, 16)),))))
    assert caught.value.key == "c0"


@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0])
def test_shares_sum_to_one_at_every_guidance_scale(lcm: SolverTable, scale: float) -> None:
    """A network that predicts the same for every prompt gives the plain picture, whatever regions there are."""

    class Deaf(LocalDenoiser):
        def forward(
            self, latents: torch.Tensor, timesteps: torch.Tensor, prompts: torch.Tensor, *more: object
        ) -> torch.Tensor:
            return super().forward(latents, timesteps, torch.zeros_like(prompts))

    guided = canvas(
        lcm, of(lcm, (1, box(0, 8, 0, 16)), (2, box(4, 12, 3, 9))), guidance=Guidance(scale, "full", words(9))
    )
    plain = replace(guided, layers=Layers(), guidance=Guidance())
    torch.testing.assert_close(alone(guided, unet=Deaf()), alone(plain, unet=Deaf(), regions=0), rtol=1e-4, atol=1e-4)


def test_the_leak_test_goes_with_one_row_for_each_region(lcm: SolverTable) -> None:
    leaky = of(lcm, (1, box(0, 8, 0, 16)), bootstrap=Bootstrap(white(), leak=0.2))
    canvas(lcm, leaky).check()
    canvas(lcm, leaky, guidance=Guidance(1.3, "self")).check()
    with pytest.raises(CanvasError) as caught:
        canvas(lcm, leaky, guidance=Guidance(2.0, "full", words(9))).check()
    assert caught.value.found == "guidance full"


def test_initialize_guidance_has_no_regions(lcm: SolverTable) -> None:
    guided = canvas(lcm, of(lcm, (1, box(0, 8, 0, 16))), guidance=Guidance(1.3, "initialize", words(9)))
    with pytest.raises(CanvasError) as caught:
        guided.check()
    assert (caught.value.found, caught.value.expected) == ("initialize", "full or self")
