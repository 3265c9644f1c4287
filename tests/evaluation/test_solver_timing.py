"""Latency is steps times tick plus decoding."""

from __future__ import annotations

import pytest
import torch

from dentgen.evaluation.solver_timing import Timing, measure_timing
from tests.evaluation.small_evaluation import small_build_spec


def test_latency_and_speedup_are_computed_from_seconds() -> None:
    timing = Timing(tick=2.0, decode={"KL": 10.0, "tiny": 4.0}, batch={"KL": 60.0, "tiny": 12.0})
    assert timing.latency(50, "KL") == 110
    assert timing.latency(4, "tiny") == 12
    assert timing.speedup("KL") == {"KL": 1.0, "tiny": 2.5}
    assert timing.batch_speedup("KL") == {"KL": 1.0, "tiny": 5.0}


@pytest.mark.slow
def test_every_decoder_is_timed_with_the_specs_threads() -> None:
    specs = {name: small_build_spec("engine.slots=2", f"model.decoder={name}") for name in ("kl", "tiny")}
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        timing = measure_timing(specs, rounds=1)
        assert torch.get_num_threads() == 2, "the caller's number is restored"
    finally:
        torch.set_num_threads(before)
    assert timing.decode.keys() == timing.batch.keys() == {"kl", "tiny"}
    assert min(timing.tick, *timing.decode.values(), *timing.batch.values()) > 0
