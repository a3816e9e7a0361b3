"""What the tests of `util.images` share."""

from tests.unit.data.conftest import own_randomness as own_randomness
