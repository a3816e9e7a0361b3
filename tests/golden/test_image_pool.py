"""Image pool: which images come back, and what is drawn."""

import random
from typing import Any

import pytest
import torch

from tests.golden.formulas import ids, load
from util.image_pool import ImagePool

pytestmark = pytest.mark.golden

RECORDS = load("image_pool")


@pytest.mark.parametrize("record", RECORDS, ids=ids(RECORDS, "pool_size", "random_seed"))
def test_pool_returns_the_recorded_images(record: dict[str, Any]) -> None:
    random.seed(record["random_seed"])
    pool = ImagePool(record["pool_size"])
    returned: list[list[int]] = []
    seen = 0
    for size in record["batch_sizes"]:
        numbers = torch.arange(seen, seen + size, dtype=torch.float32)
        batch = numbers.view(size, 1, 1, 1).expand(size, 3, 2, 2).clone()
        seen += size
        out = pool.query(batch)
        assert (out is batch) is record["same_object_when_size0"]
        returned.append([int(image.unique().item()) for image in out])
    assert returned == record["returned_ids"]
    assert list(out.shape) == record["out_shape_last"]
    assert random.random() == pytest.approx(record["python_random_after"], abs=1e-9)
