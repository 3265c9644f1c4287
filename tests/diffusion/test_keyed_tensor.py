"""Keyed tensors are compared by identity: comparing their values would be slow, and has no single truth value."""

from __future__ import annotations

import torch

from dentgen.diffusion.keyed_tensor import KeyedTensor


def test_keyed_tensors_are_hashable_and_compare_without_their_values() -> None:
    values = torch.zeros(2, 3)
    first, second = KeyedTensor("a", values), KeyedTensor("a", values.clone())
    assert first != second
    assert len({first, second, first}) == 2
