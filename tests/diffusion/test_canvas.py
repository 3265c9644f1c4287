"""Canvases: control windows, consistency checks, image-to-image and inpainting on the real miniature."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dentgen.diffusion.canvas import Canvas, Repaint
from dentgen.diffusion.solver import SolverTable
from dentgen.errors import CanvasError
from dentgen.models.bundle import Bundle
from tests.diffusion.parts import LATENT, controlled, random_latents, sample_one, simple, table_of


@pytest.fixture(scope="module")
def unipc(miniature: Bundle) -> SolverTable:
    return table_of(miniature, "unipc", 4)


def test_the_scale_of_control_ends_with_its_window() -> None:
    (control,) = controlled(0, 0.7, start=0.3, end=0.8)
    assert [control.scale_at(step, 10) for step in range(10)] == [0, 0, 0, 0.7, 0.7, 0.7, 0.7, 0.7, 0, 0]


def test_half_a_window_is_half_of_the_steps() -> None:
    (first_half,) = controlled(0, 2.0, end=0.5)
    assert [first_half.scale_at(step, 4) for step in range(4)] == [2.0, 2.0, 0.0, 0.0]


def test_missing_image_latents_are_an_error(miniature: Bundle, unipc: SolverTable) -> None:
    canvas = simple(miniature, 0, 0, unipc)
    weaker = replace(canvas, table=table_of(miniature, "unipc", 4, strength=0.5))
    for incomplete in (weaker, replace(canvas, repaint=Repaint(torch.ones(LATENT[1:], dtype=torch.bool)))):
        with pytest.raises(CanvasError) as caught:
            incomplete.check()
        assert (caught.value.key, caught.value.found) == ("c0", "no image latents")
        replace(incomplete, image=random_latents(1)).check()


def test_a_control_branch_may_occur_once(miniature: Bundle, unipc: SolverTable) -> None:
    canvas = simple(miniature, 0, 0, unipc)
    with pytest.raises(CanvasError) as caught:
        replace(canvas, controls=(*canvas.controls, *canvas.controls)).check()
    assert caught.value.key == "c0"
    assert "['blended', 'blended']" in caught.value.found


def test_only_four_channel_inpainting_restores_the_image(miniature: Bundle, unipc: SolverTable) -> None:
    keep, canvas = torch.ones(LATENT[1:], dtype=torch.bool), simple(miniature, 0, 0, unipc)
    assert not canvas.edited
    assert replace(canvas, repaint=Repaint(keep)).edited
    assert not replace(canvas, repaint=Repaint(keep, random_latents(1))).edited


@pytest.mark.integration
def test_zero_scale_and_empty_windows_disable_control(miniature: Bundle, unipc: SolverTable) -> None:
    none = sample_one(miniature, simple(miniature, 0, None, unipc))
    assert torch.equal(none, sample_one(miniature, simple(miniature, 0, None, unipc, controls=controlled(1, 0.0))))
    never = controlled(1, 1.0, start=0.6, end=0.4)
    assert torch.equal(none, sample_one(miniature, simple(miniature, 0, None, unipc, controls=never)))
    assert not torch.equal(none, sample_one(miniature, simple(miniature, 0, 1, unipc)))


@pytest.mark.integration
def test_strength_one_is_text_to_image(miniature: Bundle, unipc: SolverTable) -> None:
    text = sample_one(miniature, simple(miniature, 0, 0, unipc))
    assert torch.equal(text, sample_one(miniature, simple(miniature, 0, 0, unipc, image=random_latents(5))))
    weaker = table_of(miniature, "unipc", 4, strength=0.5)
    assert not torch.equal(text, sample_one(miniature, simple(miniature, 0, 0, weaker, image=random_latents(5))))


@pytest.mark.slow
def test_kept_latents_are_the_image_and_repainted_ones_see_them(miniature: Bundle, unipc: SolverTable) -> None:
    image = random_latents(5)

    def sampled(keep: torch.Tensor) -> torch.Tensor:
        canvas: Canvas = simple(miniature, 0, 0, unipc, image=image, repaint=Repaint(keep))
        return sample_one(miniature, canvas)

    text = sample_one(miniature, simple(miniature, 0, 0, unipc))
    nothing, half = torch.zeros(LATENT[1:], dtype=torch.bool), torch.zeros(LATENT[1:], dtype=torch.bool)
    half[:4] = True
    assert torch.equal(sampled(nothing), text)
    assert torch.equal(sampled(~nothing), image)
    mixed = sampled(half)
    assert torch.equal(mixed[:, :4], image[:, :4])
    assert not torch.equal(mixed[:, 4:], text[:, 4:])
