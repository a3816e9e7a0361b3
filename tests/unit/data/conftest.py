"""What the tests of `data` share."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from util.base import rng

# The first use of torchvision or Pillow takes long, and machines are shared.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture
def own_randomness() -> Iterator[None]:
    """Put python's, numpy's and torch's global generators back afterwards."""
    state = rng.state_dict()
    yield
    rng.load_state_dict(state)
