"""Small work on one thread, and everything as before afterwards."""

from __future__ import annotations

import contextlib

import pytest
import torch

from tlx.one_thread import one_thread


@pytest.mark.parametrize("small", [True, False])
def test_the_block_has_one_thread_if_it_is_small(small: bool) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with one_thread(small):
            assert torch.get_num_threads() == (1 if small else 3)
        assert torch.get_num_threads() == 3
        with contextlib.suppress(ValueError), one_thread(small):
            raise ValueError
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
