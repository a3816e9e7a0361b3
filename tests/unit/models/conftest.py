"""What all tests of the models share."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

# The first backward pass of a process takes seconds, and machines are shared.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small tensors are faster on one thread, and sums keep their order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
