"""Engine protocols and sizes: the bundle's networks fulfil the protocols, and branch order does not depend on input."""

from __future__ import annotations

import itertools

from dentgen.diffusion.networks import Branches, Denoiser, EngineShape, RowControl, SharedControl
from dentgen.models.bundle import Bundle
from dentgen.models.networks import ControlBranch, ControlNetBranch, UNetDenoiser
from tests.diffusion.parts import BLENDED, full_control


def test_networks_of_a_bundle_fulfil_the_protocols(miniature: Bundle) -> None:
    _, full = full_control(miniature)
    assert isinstance(UNetDenoiser(miniature.unet), Denoiser)
    assert isinstance(ControlBranch(miniature.shared[BLENDED]), SharedControl)
    assert isinstance(ControlNetBranch(full, (16, 16)), RowControl)
    assert not isinstance(ControlBranch(miniature.shared[BLENDED]), RowControl), "a shared branch has no hint"


def test_residuals_are_added_in_one_order_whatever_the_order_of_branches(miniature: Bundle) -> None:
    _, full = full_control(miniature)
    shared, per_row = ControlBranch(miniature.shared[BLENDED]), ControlNetBranch(full, (16, 16))
    for order in itertools.permutations(["c", "a", "b"]):
        branches = Branches(shared=dict.fromkeys(order, shared), per_row={"aa": per_row, "b": per_row})
        assert branches.names == ("a", "aa", "b", "c")


def test_latent_shape_of_the_engine() -> None:
    assert EngineShape(4, 2, (16, 24), 77, 128, 9).latent == (4, 16, 24)
    assert EngineShape(4, 2, (8, 8), 77, 128, 9, channels=16).latent == (16, 8, 8)
