"""scripts/eval_cityscapes: counting by hand-computed cases, and both protocols on small scenes."""

import json
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.support.checkpoints import save_state
from tests.support.commands import ROOT, draw, imported, start

FOLDER = ROOT / "scripts" / "eval_cityscapes"
IGNORED = 255


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """Return the command as a module; its other module is `eval_cityscapes.cityscapes`."""
    with imported(FOLDER / "evaluate.py") as module:
        yield module


@pytest.fixture
def cityscapes(script: ModuleType) -> ModuleType:
    """Return the module of classes and scores."""
    return sys.modules["eval_cityscapes.cityscapes"] if script else script


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the command: exit status, standard output and error."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        status = 0
        before = list(sys.path)
        try:
            script.main([str(argument) for argument in (*arguments, "--gpu_ids", "-1")])
        except SystemExit as stopped:
            status = int(str(stopped.code))
        finally:
            sys.path[:] = before
        return status, *capsys.readouterr()

    return run


def ids(rows: list[list[int]], scale: int = 1) -> Tensor:
    """Return a label map, every number a square of `scale` pixels."""
    return torch.tensor(rows, dtype=torch.uint8).kron(torch.ones(scale, scale, dtype=torch.uint8))


def coloured(labels: Tensor, cityscapes: ModuleType) -> Image.Image:
    """Paint a label map."""
    palette = torch.zeros(256, 3, dtype=torch.uint8)
    palette[: len(cityscapes.CLASSES)] = torch.tensor(list(cityscapes.CLASSES.values()))
    return Image.fromarray(palette[labels.long()].numpy())


class ByColour(nn.Module):
    """A segmentation network that is right where a photo has a class's colour.

    2 p.c - c.c is largest for the colour c that is nearest to p.
    """

    def __init__(self, colours: Any) -> None:
        super().__init__()
        c = torch.tensor(list(colours)).float() / 255
        self.layer = nn.Conv2d(3, len(c), 1)
        assert self.layer.bias is not None
        self.layer.weight.data = (2 * c).view(len(c), 3, 1, 1)
        self.layer.bias.data = -c.square().sum(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Score the classes."""
        return self.layer(x)


@pytest.fixture
def network(cityscapes: ModuleType, tmp_path: Path) -> Path:
    """Return a TorchScript file of `ByColour`."""
    path = tmp_path / "fcn.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # TorchScript will go one day
        torch.jit.script(ByColour(cityscapes.CLASSES.values())).save(str(path))
    return path


# ---- counting -----------------------------------------------------------------------------


def test_there_are_19_classes_with_different_colours(cityscapes: ModuleType) -> None:
    colours = [*cityscapes.CLASSES.values(), *cityscapes.VOID.values()]
    assert len(cityscapes.CLASSES) == len(cityscapes.IDS) == 19
    assert len(set(colours)) == len(colours)


@pytest.mark.parametrize(
    ("label_id", "name"),
    [(7, "road"), (8, "sidewalk"), (11, "building"), (17, "pole"), (23, "sky"), (26, "car"),
     (31, "train"), (33, "bicycle")],
)  # fmt: skip
def test_ids_of_files_become_train_ids(cityscapes: ModuleType, label_id: int, name: str) -> None:
    found = cityscapes.from_ids(ids([[label_id, 0, 4, 29, 255]]))
    assert found.tolist() == [[list(cityscapes.CLASSES).index(name), *[IGNORED] * 4]]


def test_colours_become_the_nearest_class(cityscapes: ModuleType) -> None:
    pixels = [(120, 70, 120), (0, 0, 142), (5, 9, 150), (68, 128, 186), (3, 3, 3)]
    image = torch.tensor(pixels, dtype=torch.uint8).T.view(3, 1, 5)
    names = list(cityscapes.CLASSES)
    found = cityscapes.from_colours(image, void=False)[0].tolist()
    assert [names[number] for number in found] == ["road", "car", "car", "sky", "truck"]
    assert cityscapes.from_colours(image, void=True)[0].tolist() == [*found[:4], IGNORED]


def test_every_colour_is_its_own_class(cityscapes: ModuleType) -> None:
    labels = ids([list(range(19))])
    image = torch.from_numpy(np.array(coloured(labels, cityscapes))).permute(2, 0, 1)
    for void in (False, True):
        assert torch.equal(cityscapes.from_colours(image, void=void), labels)


def test_the_confusion_matrix_counted_by_hand(cityscapes: ModuleType) -> None:
    truth = ids([[0, 0, 0, 1], [1, 2, 255, 255]])
    predicted = torch.tensor([[0, 0, 1, 1], [0, 200, 0, 5]])
    counts = cityscapes.confusion(truth, predicted)
    assert counts.shape == (19, 20)
    assert counts.sum() == 6  # two are ignored
    assert counts[0, :3].tolist() == [2, 1, 0]
    assert counts[1, :3].tolist() == [1, 1, 0]
    assert counts[2, 19] == 1  # 200 is no class


def test_the_scores_computed_by_hand(cityscapes: ModuleType) -> None:
    counts = torch.zeros(19, 20, dtype=torch.int64)
    counts[0, 0], counts[0, 1] = 6, 2  # 8 of class 0: 6 right
    counts[1, 0], counts[1, 3] = 1, 1  # 2 of class 1: none right, one taken for class 3
    counts[2, 2], counts[2, 19] = 9, 1  # 10 of class 2: 9 right, one is no class
    found = cityscapes.scores(counts)
    assert found.pixel_accuracy == pytest.approx(15 / 20)
    assert found.accuracies[:4] == [6 / 8, 0, 9 / 10, None]
    assert found.class_accuracy == pytest.approx((6 / 8 + 0 + 9 / 10) / 3)
    # unions: 8 + 7 - 6, 2 + 2 - 0, 10 + 9 - 9, and 1 that was class 3 by mistake
    assert found.ious[:5] == [6 / 9, 0, 9 / 10, 0, None]
    assert found.class_iou == pytest.approx((6 / 9 + 9 / 10) / 4)
    assert found.pixels[:4] == [8, 2, 10, 0]


def test_all_right_is_one(cityscapes: ModuleType) -> None:
    truth = ids([list(range(19)), [255] * 19])
    found = cityscapes.scores(cityscapes.confusion(truth, truth))
    assert (found.pixel_accuracy, found.class_accuracy, found.class_iou) == (1, 1, 1)


def test_other_shapes_are_refused(cityscapes: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"\(1, 2\) and \(2, 1\)"):
        cityscapes.confusion(ids([[0, 0]]), ids([[0], [0]]))


# ---- photo2label --------------------------------------------------------------------------

TRUTH = [[0, 1, 2, 2], [13, 13, 10, 10]]
MADE = [[0, 1, 2, 8], [13, 13, 10, 10]]  # one of eight is wrong


def test_label_images_are_compared_with_those_beside_them(
    run: Run, cityscapes: ModuleType, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(-9, 10, (16, 32, 3))
    for number in range(3):
        made = np.asarray(coloured(ids(MADE, 8), cityscapes)).astype(int) + noise
        noisy = Image.fromarray(made.clip(0, 255).astype(np.uint8))
        draw(tmp_path / f"s{number}_fake_B.png", noisy)
        draw(tmp_path / f"s{number}_real_B.png", coloured(ids(TRUTH, 8), cityscapes))
    status, said, _ = run("photo2label", tmp_path, "--json", tmp_path / "scores.json")
    report = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert status == 0
    assert report["images"] == 3
    assert report["pixel_accuracy"] == pytest.approx(7 / 8)
    assert report["class_accuracy"] == pytest.approx((1 + 1 + 0.5 + 1 + 1) / 5)
    assert report["class_iou"] == pytest.approx((1 + 1 + 0.5 + 1 + 1 + 0) / 6)
    assert np.array(report["confusion"]).sum() == 3 * 16 * 32
    assert "per-pixel accuracy  0.8750" in said
    assert "higher is better" in said
    columns = [line.split()[-1] for line in said.splitlines() if "%" in line]
    assert len(columns) == 19
    assert len({line.index("%") for line in said.splitlines() if "%" in line}) == 1


def test_label_maps_of_cityscapes_are_found_by_the_scenes_names(
    run: Run, cityscapes: ModuleType, tmp_path: Path
) -> None:
    scene, city = "bonn_000000_000019", tmp_path / "gtFine" / "val" / "bonn"
    draw(tmp_path / "r" / f"{scene}_leftImg8bit_fake_B.png", coloured(ids(MADE, 2), cityscapes))
    raw = torch.tensor([[7, 8, 11, 11], [26, 0, 23, 23]], dtype=torch.uint8)
    raw = raw.kron(torch.ones(8, 8, dtype=torch.uint8))  # larger than what was generated
    draw(city / f"{scene}_gtFine_labelIds.png", Image.fromarray(raw.numpy()))
    draw(city / f"{scene}_gtFine_instanceIds.png", Image.fromarray(raw.numpy()))
    draw(city / f"{scene}_gtFine_color.png", Image.new("RGB", (32, 16)))
    report = tmp_path / "scores.json"
    status, said, _ = run("photo2label", tmp_path / "r", "--labels", tmp_path / "gtFine",
                          "--json", report)  # fmt: skip
    found = json.loads(report.read_text(encoding="utf-8"))
    assert status == 0
    assert found["pixel_accuracy"] == pytest.approx(6 / 7)
    assert found["pixels_ignored"] == 64
    assert "448 pixels are scored, 64 are none of the classes" in said


def test_train_ids_are_taken_as_they_are(run: Run, cityscapes: ModuleType, tmp_path: Path) -> None:
    draw(tmp_path / "r" / "x.png", coloured(ids(MADE, 2), cityscapes))
    labels = Image.fromarray(ids(TRUTH, 2).numpy())
    draw(tmp_path / "l" / "x_gtFine_labelTrainIds.png", labels)
    status, said, _ = run("photo2label", tmp_path / "r", "--labels", tmp_path / "l")
    assert status == 0
    assert "per-pixel accuracy  0.8750" in said


def test_images_without_label_map_are_left_out_with_a_warning(
    run: Run, cityscapes: ModuleType, tmp_path: Path
) -> None:
    for name in ("x_fake_B.png", "x_real_B.png", "y_fake_B.png"):
        draw(tmp_path / name, coloured(ids(TRUTH), cityscapes))
    status, said, warned = run("photo2label", tmp_path)
    assert status == 0
    assert "1 images" in said
    assert "y_fake_B.png" in warned


# ---- label2photo --------------------------------------------------------------------------


def test_photos_are_segmented_at_the_size_of_the_label_maps(
    run: Run, cityscapes: ModuleType, network: Path, tmp_path: Path
) -> None:
    draw(tmp_path / "x_fake_B.png", coloured(ids(MADE, 4), cityscapes))
    draw(tmp_path / "x_real_A.png", coloured(ids(TRUTH, 4), cityscapes))
    status, said, _ = run("label2photo", tmp_path, "--model", network)
    assert status == 0
    assert "per-pixel accuracy  0.8750" in said
    draw(tmp_path / "x_real_A.png", coloured(ids(TRUTH, 64), cityscapes))  # 256 x 128
    status, said, _ = run("label2photo", tmp_path, "--model", network)
    assert "32,768 pixels are scored" in said
    accuracy = float(said.partition("per-pixel accuracy")[2].split()[0])
    assert 0.8 < accuracy < 0.88  # bilinear: some pixels between colours are wrong


def test_the_other_domain_can_be_the_photos(
    run: Run, cityscapes: ModuleType, network: Path, tmp_path: Path
) -> None:
    draw(tmp_path / "x_fake_A.png", coloured(ids(TRUTH, 4), cityscapes))
    draw(tmp_path / "x_real_B.png", coloured(ids(TRUTH, 4), cityscapes))
    status, said, _ = run("label2photo", tmp_path, "--model", network, "--side", "A")
    assert status == 0
    assert "class IoU           1.0000" in said


@pytest.mark.parametrize("returned", ["scores", "dict", "ids", "small"])
def test_a_function_of_the_users_gives_the_network(
    run: Run, cityscapes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, returned: str
) -> None:
    wrap = {
        "scores": "scores",
        "dict": "{'out': scores, 'aux': None}",
        "ids": "scores.argmax(dim=1)",
        "small": "scores[:, :, ::2, ::2]",  # as networks with a stride have it
    }[returned]
    module = f"users_fcn_{returned}"
    (tmp_path / f"{module}.py").write_text(
        textwrap.dedent(f"""
        import torch
        COLOURS = torch.tensor({list(cityscapes.CLASSES.values())}) / 255

        def load():
            def network(x):
                assert x.shape == (1, 3, 16, 32)
                assert x.min() >= 0 and x.max() <= 1
                distances = (x - COLOURS.view(19, 3, 1, 1)).square().sum(dim=1)
                scores = -distances[None]
                return {wrap}
            return network
    """)
    )
    draw(tmp_path / "x_fake_B.png", coloured(ids(MADE, 8), cityscapes))
    draw(tmp_path / "x_real_A.png", coloured(ids(TRUTH, 8), cityscapes))
    monkeypatch.chdir(tmp_path)
    status, said, _ = run("label2photo", tmp_path, "--model", f"{module}:load")
    assert status == 0
    accuracy = float(said.partition("per-pixel accuracy")[2].split()[0])
    assert accuracy == pytest.approx(7 / 8, abs=0.05 if returned == "small" else 1e-4)
    sys.modules.pop(module, None)


def test_colours_can_be_normalized_as_torchvision_does(script: ModuleType) -> None:
    seen = []

    def network(pixels: Tensor) -> Tensor:
        seen.append(pixels)
        return torch.zeros(1, 2, 2, dtype=torch.int64)

    predict = script.segmenting(network, torch.device("cpu"), normalize=True)
    predict(Image.new("RGB", (2, 2), (124, 116, 104)), (2, 2))  # ImageNet's mean
    assert seen[0].abs().max() < 0.01


def test_files_of_torch_export_work(run: Run, cityscapes: ModuleType, tmp_path: Path) -> None:
    net = ByColour(cityscapes.CLASSES.values()).eval()
    exported = torch.export.export(net, (torch.zeros(1, 3, 16, 32),))
    torch.export.save(exported, tmp_path / "fcn.pt2")
    draw(tmp_path / "x_fake_B.png", coloured(ids(MADE, 8), cityscapes))
    draw(tmp_path / "x_real_A.png", coloured(ids(TRUTH, 8), cityscapes))
    status, said, _ = run("label2photo", tmp_path, "--model", tmp_path / "fcn.pt2")
    assert status == 0
    assert "per-pixel accuracy  0.8750" in said


# ---- what cannot be done ------------------------------------------------------------------


@pytest.fixture
def scenes(cityscapes: ModuleType, tmp_path: Path) -> Path:
    """Return a folder with one generated photo and its label map."""
    folder = tmp_path / "results"
    for label in ("fake_B", "real_A"):
        draw(folder / f"x_{label}.png", coloured(ids(TRUTH, 4), cityscapes))
    return folder


def test_a_checkpoint_is_no_network(run: Run, scenes: Path, tmp_path: Path) -> None:
    save_state({"weight": torch.zeros(2)}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="A checkpoint alone is not enough.*MODULE:FUNCTION"):
        run("label2photo", scenes, "--model", tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gone.pt", "no such file, and it is not MODULE:FUNCTION"),
        ("no_such_module_anywhere:load", "no module no_such_module_anywhere"),
        ("json:no_such_function", "has no function no_such_function"),
    ],
)
def test_a_network_that_is_not_there_is_named(
    run: Run, scenes: Path, model: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        run("label2photo", scenes, "--model", model)


def test_a_network_of_other_classes_is_refused(script: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"a tensor \(1, 21, 8, 8\). Wanted are scores \(1, 19"):
        script.train_ids_of(torch.zeros(1, 21, 8, 8), (8, 8))
    with pytest.raises(ValueError, match="NoneType"):
        script.train_ids_of({"logits": 1}, (8, 8))


def test_an_error_in_the_users_module_is_shown_as_it_is(
    run: Run, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users_broken_fcn.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_there"):
        run("label2photo", scenes, "--model", "users_broken_fcn:load")


def test_grey_label_maps_of_unknown_meaning_are_refused(run: Run, scenes: Path) -> None:
    draw(scenes / "x_real_B.png", Image.new("L", (16, 8)))
    with pytest.raises(ValueError, match="x_real_B.png is grey.*_labelIds"):
        run("photo2label", scenes)


def test_label_maps_without_any_class_are_refused(run: Run, scenes: Path) -> None:
    draw(scenes / "x_real_B.png", Image.new("RGB", (16, 8)))
    with pytest.raises(ValueError, match="No pixel of the true label maps"):
        run("photo2label", scenes)


def test_results_without_label_maps_need_their_folder(run: Run, tmp_path: Path) -> None:
    draw(tmp_path / "x_fake_B.png", Image.new("RGB", (8, 8)))
    with pytest.raises(ValueError, match="x_real_B.png.*--labels"):
        run("photo2label", tmp_path)


def test_names_that_do_not_match_are_shown(run: Run, scenes: Path, tmp_path: Path) -> None:
    draw(tmp_path / "l" / "other_gtFine_labelIds.png", Image.new("L", (8, 8)))
    with pytest.raises(ValueError, match="they are called x, the label maps other"):
        run("photo2label", scenes, "--labels", tmp_path / "l")


@pytest.mark.parametrize(
    "arguments",
    [["label2photo", "r"], ["photo2label", "r", "--model", "x"], ["sideways", "r"],
     ["label2photo", "r", "--model", ""],
     ["photo2label", "r", "--json", "no/such/folder/x.json"]],
)  # fmt: skip
def test_wrong_commands_are_status_2(run: Run, arguments: list[str]) -> None:
    assert run(*arguments)[0] == 2


@pytest.mark.parametrize(
    ("arguments", "form"),
    [
        (["--cityscapes_dir", "data", "--result_dir", "results", "--output_dir", "out"],
         "label2photo results --labels data/gtFine/val --model FILE --json out/scores.json"),
        (["--result_dir=my results", "--split", "test", "--gpu_id", "0"],
         "label2photo 'my results' --labels CITYSCAPES_DIR/gtFine/test --model FILE"),
        (["--caffemodel_dir", "caffemodel"],
         "label2photo RESULT_DIR --labels CITYSCAPES_DIR/gtFine/val --model FILE"),
    ],
)  # fmt: skip
def test_the_originals_flags_are_answered_with_the_form_of_today(
    run: Run, arguments: list[str], form: str
) -> None:
    status, _, message = run(*arguments)
    assert status == 2
    assert message.endswith(f"Write: evaluate.py {form}\n")
    assert arguments[0].partition("=")[0] in message


@pytest.mark.slow
def test_the_command_itself(network: Path, scenes: Path, tmp_path: Path) -> None:
    command: list[str | Path] = [FOLDER / "evaluate.py", "label2photo"]
    finished = start([*command, scenes, "--model", network], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "class IoU           1.0000" in finished.stdout
    assert finished.stderr == ""
    finished = start([*command, "nowhere", "--model", network], tmp_path)
    assert finished.returncode == 1
    assert finished.stderr == "error: nowhere is no folder with images. Check the path.\n"
