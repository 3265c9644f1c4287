"""torch's thread count is set for a block and restored."""

from __future__ import annotations

import pytest
import torch

from dentgen.generation.threads import torch_threads


def test_the_count_is_restored_after_the_block_and_after_an_error() -> None:
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), torch_threads(before + 1):
        _ = 1 / 0
    assert torch.get_num_threads() == before
