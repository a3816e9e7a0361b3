"""What data sets declare: their files and their phases, whatever plugins call their own things."""

import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms import InterpolationMode

from data import base_dataset, create_dataset, find_dataset_using_name, has_split
from data.base_dataset import LAYOUTS, BaseDataset
from data.pipeline.loader import files_of
from tests.support.drawn import draw, drawn_image, options
from util.base.errors import UserError
from util.images import transforms

Register = Callable[..., Namespace]


class Plugin(BaseDataset):
    """A data set of somebody else, whose items are of no interest."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"A": torch.zeros(1), "A_paths": str(index)}


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Register:
    """Return a function that makes a plugin with these attributes, and the options for it."""

    def add(on_class: dict[str, Any], **attributes: Any) -> Namespace:
        def init(self: Any, opt: Namespace) -> None:
            BaseDataset.__init__(self, opt)
            vars(self).update(attributes)

        module: Any = ModuleType("data.odd_dataset")
        module.OddDataset = type("OddDataset", (Plugin,), {"__init__": init, **on_class})
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return options(tmp_path, dataset_mode="odd")

    return add


# ---- image_files --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "wanted"),
    [
        ({"B_paths": ["x/b.png"], "A_paths": ["x/a.png"]}, ["x/a.png", "x/b.png"]),
        ({"image_paths": [Path("x/a.png")], "imgs": ("b.png",)}, ["x/a.png", "b.png"]),
        ({"paths": ["a.nii.gz"]}, ["a.nii.gz"]),
        ({"image_files": ["x/a"]}, ["x/a"]),
        ({"domains": ["cat", "dog"], "names": ["a.png"]}, []),
        ({"label_paths": ["cat", "dog"]}, []),
        ({"A_paths": [], "B_paths": None, "C_paths": "x/c.png", "paths": {"x/d.png"}}, []),
        ({"imgs": [("x/a.png", 0)], "A_paths": ["x/a.png", 3]}, []),
    ],
    ids=str,
)
def test_only_lists_of_paths_under_the_usual_names_are_files(
    attributes: dict[str, Any], wanted: list[str], register: Register
) -> None:
    dataset = create_dataset(register({}, **attributes)).dataset
    assert BaseDataset.image_files(dataset) == wanted
    assert [path for paths in files_of(dataset).values() for path in paths] == wanted


@pytest.mark.parametrize(
    "own",
    [7, ["x/a.png"], lambda self, number: ["x/b.png"], lambda self: 7, lambda self: [1, 2]],
    ids=["number", "list", "argument", "gives a number", "gives numbers"],
)
def test_plugin_may_call_something_else_image_files(own: Any, register: Register) -> None:
    dataset = create_dataset(register({"image_files": own}, A_paths=["x/a.png"])).dataset
    assert files_of(dataset) == {"A_paths": ["x/a.png"]}


def test_declared_files_are_the_data_sets(register: Register) -> None:
    opt = register({"image_files": lambda self: [Path("x/scan.mha")]}, A_paths=["x/a.png"])
    assert files_of(create_dataset(opt).dataset) == {"": ["x/scan.mha"]}


def test_files_of_other_kinds_raise_no_alarm_unless_they_are_declared(
    register: Register, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(tmp_path / name) for name in ("a.npy", "b.nii.gz", "c.png", "d.mha")]
    for file in files:
        Path(file).write_bytes(b"no image")
    create_dataset(register({}, A_paths=files, domains=["cat", "dog"])).warn_of_bad_images()
    said = capsys.readouterr().err
    assert "1 images will fail:\n  c.png is no image" in said
    opt = register({"image_files": lambda self: files})
    create_dataset(opt).warn_of_bad_images()
    assert "4 images will fail" in capsys.readouterr().err


def test_a_data_set_of_somebody_else_may_read_16_bits_in_its_own_way(
    register: Register, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("I;16", (8, 8)).save(tmp_path / "deep.png")
    create_dataset(register({}, A_paths=[str(tmp_path / "deep.png")])).warn_of_bad_images()
    said = capsys.readouterr().err
    assert (
        "images lose a part (unless odd reads them in its own way):\n  1 with more than 8" in said
    )


RECORDED = {  # by the version before data sets declared their files
    "unaligned": {"count": 2, "names": "791df55732c1c4f99ef4fc764125e6a9"},
    "aligned": {"count": 1, "names": "1853edbceefb9b04008ec57a6c52c04d"},
    "single": {"count": 4, "names": "4bd8afbeac5a2b57aae13103e2acc2ba"},
    "colorization": {"count": 1, "names": "1853edbceefb9b04008ec57a6c52c04d"},
    "template": {"count": 1, "names": "5df0384c52ad8bd410b975410bdeb498"},
}


@pytest.mark.parametrize("mode", RECORDED)
def test_images_of_older_states_are_recognized(mode: str, tmp_path: Path) -> None:
    draw(tmp_path / "trainA", ["b.png", "sub/a.png"])
    draw(tmp_path / "trainB", ["c.png"])
    draw(tmp_path / "train", ["p.png"], 16, 8)
    channels = {"input_nc": 1, "output_nc": 2} if mode == "colorization" else {}
    opt = options(tmp_path, dataset_mode=mode, new_dataset_option=1.0, **channels)
    loader = create_dataset(opt)
    assert loader.state_dict()["pictures"] == RECORDED[mode]
    assert loader.has_images_of(loader.state_dict())
    draw(tmp_path / "train", ["another.png"], 16, 8)
    draw(tmp_path / "trainA", ["another.png"])
    assert not create_dataset(opt).has_images_of(loader.state_dict())


# ---- has_split ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["aligned", "colorization", "unaligned"])
def test_data_set_has_the_phases_that_it_can_be_made_of(mode: str, tmp_path: Path) -> None:
    """What `has_split` and the layouts of check_dataset say is what the constructor wants."""
    channels = {"input_nc": 1, "output_nc": 2} if mode == "colorization" else {}
    opt = options(tmp_path, dataset_mode=mode, phase="val", **channels)
    for folder in [pattern.format(phase="val") for pattern in LAYOUTS[mode][0]]:
        assert not has_split(opt, "val")
        with pytest.raises(UserError, match="is not a valid directory"):
            find_dataset_using_name(mode)(opt)
        draw(tmp_path / folder, ["a.png"])
    assert has_split(opt, "val")
    assert not has_split(opt, "test")
    assert len(find_dataset_using_name(mode)(opt)) == 1


def test_single_folder_has_nothing_to_validate_on(tmp_path: Path) -> None:
    draw(tmp_path / "val", ["a.png"])
    opt = options(tmp_path, dataset_mode="single")
    assert not has_split(opt, "val")


@pytest.mark.parametrize(
    ("there", "wanted"),
    [([], False), (["val"], True), (["valA"], False), (["valA", "valB"], True), (["test"], False)],
)
def test_plugin_has_a_phase_if_there_are_folders_of_that_name(
    there: list[str], wanted: bool, register: Register, tmp_path: Path
) -> None:
    for folder in there:
        (tmp_path / folder).mkdir()
    assert has_split(register({}), "val") is wanted


@pytest.mark.parametrize(
    "own",
    [1, True, lambda self, phase: True, staticmethod(lambda phase: True),
     classmethod(lambda cls: True), staticmethod(lambda opt, phase: "yes")],
    ids=["number", "flag", "method", "static", "class", "gives a text"],
)  # fmt: skip
def test_plugin_may_call_something_else_has_split(
    own: Any, register: Register, tmp_path: Path
) -> None:
    opt = register({"has_split": own})
    assert has_split(opt, "val") is False
    (tmp_path / "val").mkdir()
    assert has_split(opt, "val") is True


@pytest.mark.parametrize("kind", [staticmethod, classmethod])
def test_plugin_is_asked_for_its_phases(kind: Any, register: Register) -> None:
    def own(*arguments: Any) -> bool:
        return bool(arguments[-1] == "val")

    opt = register({"has_split": kind(own)})
    assert has_split(opt, "val")
    assert not has_split(opt, "test")


# ---- the original's names for steps of a transform -----------------------------------------


def test_steps_of_a_transform_have_the_originals_names(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, image = vars(base_dataset), drawn_image(30, 21)
    bilinear = InterpolationMode.BILINEAR
    assert steps["__transforms2pil_resize"](bilinear) == Image.Resampling.BILINEAR
    assert steps["__make_power_2"](image, 4).size == (32, 20)
    assert steps["__make_power_2"](image, base=16, method=bilinear).size == (32, 16)
    assert steps["__scale_width"](image, 60, 10).size == (60, 42)
    assert steps["__scale_width"](image, 30, 50, bilinear).size == (30, 50)
    assert steps["__crop"](image, (2, 3), 8).tobytes() == image.crop((2, 3, 10, 11)).tobytes()
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert steps["__flip"](image, True).tobytes() == mirrored.tobytes()
    assert steps["__flip"](image, False) is image
    monkeypatch.setattr(transforms, "_rounding_noted", False)
    capsys.readouterr()
    steps["__print_size_warning"](38, 39, 40, 40)
    assert "An image of 38x39 was resized to 40x40" in capsys.readouterr().out


def test_torchvisions_transforms_are_there_for_who_asks() -> None:
    assert base_dataset.transforms is torchvision.transforms  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        getattr(base_dataset, "nonsense")  # noqa: B009
