"""How large images are, in words and as options."""

import pytest

from util.images.sizes import ImageSize


@pytest.mark.parametrize(
    ("preprocess", "words", "whole"),
    [
        ("resize_and_crop", "64x64", ("resize_and_crop", 64, 64)),
        ("resize", "96x96", ("resize", 96, 64)),
        ("crop", "64x64, cut from images as large as they are", ("crop", 96, 64)),
        ("scale_width", "96 pixels wide", ("scale_width", 96, 64)),
        ("scale_width_and_crop", "64x64, cut from images 96 pixels wide", ("scale_width", 96, 64)),
        ("crop_and_scale_width", "64x64, cut from images 96 pixels wide", ("scale_width", 96, 64)),
        ("none", "as large as they are", ("none", 96, 64)),
    ],
)
def test_the_size_is_told_and_that_of_whole_images(
    preprocess: str, words: str, whole: tuple[str, int, int]
) -> None:
    size = ImageSize(preprocess, 96, 64)
    assert str(size) == words
    assert size.whole() == whole
    assert ImageSize.of({"preprocess": preprocess, "load_size": "96", "crop_size": 64}) == size


def test_what_a_file_does_not_tell_is_not_known() -> None:
    assert ImageSize.of({}) is None
    assert ImageSize.of({"preprocess": "resize", "load_size": "many", "crop_size": None}) is None


@pytest.mark.parametrize(
    ("preprocess", "options"),
    [
        ("resize_and_crop", {"crop_size": "64"}),
        ("resize", {"preprocess": "resize", "load_size": "96"}),
        ("crop", {"preprocess": "crop", "crop_size": "64"}),
        ("scale_width_and_crop",
         {"preprocess": "scale_width", "load_size": "96", "crop_size": "64"}),
        ("scale_shortside_and_crop", {"preprocess": "scale_shortside", "load_size": "96"}),
        ("none", {"preprocess": "none"}),
    ],
)  # fmt: skip
def test_a_test_needs_but_the_options_that_are_not_its_defaults(
    preprocess: str, options: dict[str, str]
) -> None:
    assert ImageSize(preprocess, 96, 64).for_test() == options
    assert ImageSize("resize_and_crop", 286, 256).for_test() == {}
