"""When test.py translates several images at once, and that nothing changes by it."""

from argparse import Namespace
from typing import Any

import pytest
import torch

from models.colorization_model import ColorizationModel
from models.cycle_gan_model import CycleGANModel
from models.networks import define_G
from models.pix2pix_model import Pix2PixModel
from models.template_model import TemplateModel
from models.test_model import TestModel
from util.inference.batching import images_at_once, one_by_one


class Derived(Pix2PixModel):
    """A plugin that may do anything."""


def options(**changed: Any) -> Namespace:
    values = {
        "batch_size": 4, "norm": "instance", "no_dropout": True, "eval": False, "gpu_ids": [],
        "preprocess": "resize_and_crop", "load_size": 256, "crop_size": 256,
        "dataset_mode": "single",
    }  # fmt: skip
    return Namespace(**(values | changed))


@pytest.mark.parametrize("model", [CycleGANModel, Pix2PixModel, TestModel])
@pytest.mark.parametrize(
    "changed",
    [{}, {"norm": "none"}, {"norm": "batch", "eval": True}, {"no_dropout": False, "eval": True}],
    ids=str,
)
def test_a_given_batch_size_is_used_where_images_are_independent(
    model: type, changed: dict[str, Any]
) -> None:
    assert images_at_once(options(**changed), model, given=True) == 4


@pytest.mark.parametrize("model", [ColorizationModel, TemplateModel, Derived])
def test_models_that_do_not_say_so_get_one_image_at_a_time(
    model: type, capsys: pytest.CaptureFixture[str]
) -> None:
    assert images_at_once(options(), model, given=True) == 1
    assert model.__name__ in capsys.readouterr().out
    assert images_at_once(options(batch_size=1), model, given=True) == 1
    assert images_at_once(options(gpu_ids=[0]), model, given=False) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"gpu_ids": []}, 1),  # on a CPU batches are slower
        ({}, 8),
        ({"crop_size": 512, "load_size": 512}, 2),
        ({"crop_size": 2048, "load_size": 2048}, 1),
        ({"preprocess": "resize", "load_size": 128}, 32),
        ({"preprocess": "none"}, 1),
        ({"preprocess": "scale_width"}, 1),
        ({"preprocess": "scale_width_and_crop"}, 8),
        ({"preprocess": "scale_shortside"}, 1),
        ({"preprocess": "scale_shortside_and_crop"}, 8),
        ({"norm": "batch"}, 1),
        ({"norm": "syncbatch"}, 1),
        ({"norm": "batch", "eval": True}, 8),
        ({"dataset_mode": "of_a_plugin"}, 1),
    ],
    ids=str,
)
def test_by_itself_a_gpu_takes_about_as_many_pixels_as_eight_usual_images(
    changed: dict[str, Any], expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    opt = options(**({"gpu_ids": [0]} | changed))
    assert images_at_once(opt, Pix2PixModel, given=False) == expected
    assert capsys.readouterr().out == ""


def test_every_item_of_a_batch_has_its_images_and_its_path() -> None:
    visuals = {"real": torch.arange(6.0).view(3, 1, 1, 2), "fake": torch.zeros(3, 3, 4, 4)}
    items = list(one_by_one(visuals, ["a", "b", "c"], 3))
    assert [paths for _, paths in items] == [["a"], ["b"], ["c"]]
    for number, (item, _) in enumerate(items):
        assert torch.equal(item["real"], visuals["real"][number : number + 1])
        assert item["fake"].shape == (1, 3, 4, 4)


def test_a_single_image_of_a_plugin_is_handed_on_as_it_is() -> None:
    visuals, paths = {"montage": object()}, ["a", "also a"]
    assert list(one_by_one(visuals, paths, 1)) == [(visuals, paths)]


@pytest.mark.parametrize("netG", ["resnet_6blocks", "unet_128"])
@pytest.mark.parametrize(("norm", "evaluation"), [("instance", False), ("none", False),
                                                  ("batch", True)])  # fmt: skip
def test_in_float64_a_batch_gives_the_numbers_of_single_images(
    netG: str, norm: str, evaluation: bool
) -> None:
    torch.manual_seed(1)
    net = define_G(3, 3, 4, netG, norm).double().train(not evaluation)
    images = torch.rand(3, 3, 128, 128, dtype=torch.float64) * 2 - 1
    with torch.inference_mode():
        together = net(images)
        for number in range(3):
            alone = net(images[number : number + 1])[0]
            assert torch.allclose(together[number], alone, rtol=0, atol=1e-12)
