"""Contestants generate the work's images, and call networks as often as the engine needs them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dentgen.benchmark.engine.contestants import EngineContestant, NetworkContestant
from dentgen.benchmark.engine.work import Work


@pytest.mark.integration
def test_the_engine_prepares_ticks_and_decodes(work: Work) -> None:
    engine = work.engine()
    engine.warm_up()
    contestant = EngineContestant(engine)
    kinds = list(contestant.pieces(work))
    assert kinds == ["prepare", *["tick"] * kinds.count("tick"), "decode"]
    assert kinds.count("tick") >= work.ticks == 8
    assert list(contestant.pictures) == list(contestant.latents)
    assert set(contestant.pictures) == {request.key for request in work.requests}
    key, latents = next(iter(contestant.latents.items()))
    (image,) = work.generator.codec.decode([latents])
    assert np.abs(image.astype(int) - contestant.pictures[key]).max() <= 1


@pytest.mark.slow
def test_networks_are_called_as_often_as_the_engine_calls_them(work: Work) -> None:
    contestant = NetworkContestant.of(work)
    assert Counter(contestant.pieces(work)) == {"text": 8, "encode": 1, "control": 8, "unet": 8, "decode": 1}
    assert Counter(contestant.pieces(work.first(3))) == {"text": 3, "encode": 1, "control": 3, "unet": 3, "decode": 1}
