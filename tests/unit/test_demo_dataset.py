"""The script that draws the demo dataset."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from tests.support.commands import imported

SCRIPT = Path(__file__).parents[2] / "datasets" / "make_demo_dataset.py"
SMALL = ("--size", "32", "--train", "3", "--val", "1", "--test", "2")


@pytest.fixture(scope="module")
def demo() -> Iterator[ModuleType]:
    """Return the script as a module."""
    with imported(SCRIPT) as module:
        yield module


def files(root: Path) -> dict[str, bytes]:
    """Return the content of every file below `root`."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def numbered(folder: str, count: int) -> list[str]:
    """Return the names of the images of a folder."""
    return [f"{folder}/{number:04}.png" for number in range(1, count + 1)]


def draw(demo: ModuleType, output: Path, *arguments: str) -> dict[str, bytes]:
    """Run the script with few and small images and return what it wrote."""
    demo.main(["--output", str(output), *SMALL, *arguments])
    return files(output)


def test_paired_holds_numbered_pairs_in_three_folders(demo: ModuleType, tmp_path: Path) -> None:
    written = draw(demo, tmp_path)
    expected = [
        *numbered("paired/test", 2),
        *numbered("paired/train", 3),
        *numbered("paired/val", 1),
    ]
    assert sorted(written) == expected
    for name in written:
        with Image.open(tmp_path / name) as image:
            assert (image.size, image.mode) == ((64, 32), "RGB")


def test_unpaired_holds_both_domains_of_every_phase(demo: ModuleType, tmp_path: Path) -> None:
    written = draw(demo, tmp_path, "--kind", "unpaired")
    counts = {"train": 3, "val": 1, "test": 2}
    expected = [
        name
        for phase, count in counts.items()
        for side in "AB"
        for name in numbered(f"unpaired/{phase}{side}", count)
    ]
    assert sorted(written) == sorted(expected)
    with Image.open(tmp_path / expected[0]) as image:
        assert (image.size, image.mode) == ((32, 32), "RGB")


def test_domains_hold_one_folder_per_style(demo: ModuleType, tmp_path: Path) -> None:
    written = draw(demo, tmp_path, "--kind", "domains", "--domains", "winter,day,dusk")
    folders = {name.rsplit("/", 1)[0] for name in written}
    assert folders == {
        f"domains/{phase}/{style}"
        for phase in ("train", "val", "test")
        for style in ("winter", "day", "dusk")
    }


def test_all_draws_every_kind_and_says_how_to_train(
    demo: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--kind", "all", "--size", "32", "--train", "1", "--val", "0", "--test", "0"]
    demo.main(["--output", str(tmp_path), *arguments])
    assert {path.name for path in tmp_path.iterdir()} == {"paired", "unpaired", "domains"}
    assert not list(tmp_path.rglob("val*")), "a phase without images needs no folder"
    text = capsys.readouterr().out
    assert f"{tmp_path / 'paired' / 'train'}: 1 images" in text
    paired, unpaired = (shlex.quote(str(tmp_path / name)) for name in ("paired", "unpaired"))
    assert f"python train.py --dataroot {paired} --name demo_paired --model pix2pix" in text
    assert "--direction AtoB" in text
    assert f"python train.py --dataroot {unpaired} --name demo_unpaired --model cycle_gan" in text


def test_a_seed_gives_the_same_bytes_whatever_the_counts(demo: ModuleType, tmp_path: Path) -> None:
    first = draw(demo, tmp_path / "first")
    again = draw(demo, tmp_path / "again")
    fewer = draw(demo, tmp_path / "fewer", "--train", "1", "--val", "2")
    assert first == again
    both = first.keys() & fewer.keys()
    assert len(both) == 4
    assert all(first[name] == fewer[name] for name in both)


def test_another_seed_draws_other_images(demo: ModuleType, tmp_path: Path) -> None:
    first = draw(demo, tmp_path / "first")
    other = draw(demo, tmp_path / "other", "--seed", "1")
    assert not set(first.values()) & set(other.values())


def test_no_two_folders_share_a_scene(demo: ModuleType) -> None:
    counts = dict.fromkeys(demo.PHASES, 40)
    folders = [
        folder.name
        for kind in ("paired", "unpaired", "domains")
        for folder in demo.plan(kind, counts, list(demo.STYLES))
    ]
    scenes = {demo.draw_scene(0, name, number) for name in folders for number in range(1, 41)}
    assert len(folders) == 3 + 6 + 3 * len(demo.STYLES)
    assert len(scenes) == 40 * len(folders)


@pytest.mark.parametrize("size", [32, 50, 128])
def test_label_maps_use_only_the_palette(demo: ModuleType, size: int) -> None:
    palette = {label.color for label in demo.LABELS.values()}
    for number in range(1, 9):
        labels = demo.render_labels(demo.draw_scene(3, "palette", number), size)
        assert labels.size == (size, size)
        used = {tuple(color) for color in np.asarray(labels).reshape(-1, 3).tolist()}
        assert used <= palette
        assert len(used) > 6


def test_label_colours_are_distinct(demo: ModuleType) -> None:
    colors = np.array([label.color for label in demo.LABELS.values()])
    distances = np.abs(colors[:, None] - colors).max(axis=2) + 255 * np.eye(len(colors))
    assert distances.min() >= 40


def test_pair_is_the_label_map_beside_the_day_photo(demo: ModuleType) -> None:
    scene = demo.draw_scene(0, "pair", 1)
    pair = demo.render_pair(scene, 48)
    assert pair.size == (96, 48)
    left, right = pair.crop((0, 0, 48, 48)), pair.crop((48, 0, 96, 48))
    assert left.tobytes() == demo.render_labels(scene, 48).tobytes()
    assert right.tobytes() == demo.render(scene, "day", 48).tobytes()


def test_label_tells_the_colours_of_the_photo(demo: ModuleType) -> None:
    """A colour per label, learnt on some scenes, halves the error of one colour for all."""
    pairs = []
    for number in range(1, 25):
        pair = np.asarray(demo.render_pair(demo.draw_scene(0, "learn", number), 32), float)
        pairs.append((pair[:, :32].reshape(-1, 3) @ (65536, 256, 1), pair[:, 32:].reshape(-1, 3)))
    seen, photos = (np.concatenate(parts) for parts in zip(*pairs[:16], strict=True))
    means = {code: photos[seen == code].mean(axis=0) for code in np.unique(seen)}
    codes, truth = (np.concatenate(parts) for parts in zip(*pairs[16:], strict=True))
    guess = np.array([means[code] for code in codes])
    assert np.abs(guess - truth).mean() < 0.5 * np.abs(photos.mean(axis=0) - truth).mean()


def test_every_style_scheme_and_roof_is_drawn(demo: ModuleType) -> None:
    scenes = [demo.draw_scene(0, "variety", number) for number in range(1, 60)]
    assert {scene.scheme for scene in scenes} == set(demo.SCHEMES)
    assert {scene.roof for scene in scenes} == set(demo.ROOFS)
    assert {scene.floors for scene in scenes} == {2, 3, 4, 5}
    photos = {demo.render(scenes[0], style, 32).tobytes() for style in demo.STYLES}
    assert len(photos) == len(demo.STYLES) >= 3


def test_night_is_darker_than_day(demo: ModuleType) -> None:
    scene = demo.draw_scene(0, "light", 1)
    day, night = (np.asarray(demo.render(scene, style, 32)).mean() for style in ("day", "night"))
    assert night < 0.6 * day


def test_scenes_stay_inside_the_image(demo: ModuleType) -> None:
    for number in range(1, 300):
        scene = demo.draw_scene(0, "inside", number)
        assert 0 < scene.left < scene.right < 1
        assert 0 < scene.eaves - scene.roof_height < scene.eaves < scene.ground < 1
        assert 0 <= scene.door_column < scene.columns


def test_other_files_stay_and_are_mentioned(
    demo: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "paired" / "train"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    (folder / "photo.png").write_bytes(b"mine too")
    written = draw(demo, tmp_path)
    assert written["paired/train/notes.txt"] == b"mine"
    assert written["paired/train/photo.png"] == b"mine too"
    assert "and 1 more that were already there" in capsys.readouterr().out
    assert not [name for name in written if "tmp" in name]


def test_a_failed_write_leaves_no_temporary_file(
    demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(demo.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        demo.save(Image.new("RGB", (2, 2)), tmp_path / "0001.png")
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "30"], "--size 30 is not an even number from 32 to 2048. Try --size 256."),
        (["--size", "99999999999"], "--size 99999999999 is not an even number from 32"),
        (["--size", "65"], "--size 65 is not an even number from 32 to 2048. Try --size 256."),
        (["--size", "big"], "argument --size: invalid int value: 'big'"),
        (["--train", "0"], "--train 0 is too small. Give 1 or more."),
        (["--val", "-1"], "--val -1 is too small. Give 0 or more."),
        (["--test", "-2"], "--test -2 is too small. Give 0 or more."),
        (["--seed", "-1"], "--seed -1 is negative. Give 0 or more."),
        (["--kind", "triples"], "argument --kind: invalid choice: 'triples'"),
        (["--domains", "day,fog"], "--domains has no style 'fog'. Choose from day, dusk, night"),
        (["--domains", "day,day"], "--domains day,day names a style twice. Name each once."),
    ],
)
def test_wrong_arguments_end_with_status_2_and_advice(
    demo: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    with pytest.raises(SystemExit) as stop:
        demo.main(["--output", str(tmp_path / "out"), *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_all_problems_are_told_at_once(
    demo: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        demo.main(["--output", str(tmp_path), "--size", "31", "--seed", "-5"])
    text = capsys.readouterr().err
    assert "--size 31" in text
    assert "--seed -5" in text


def test_an_output_that_is_a_file_ends_with_status_2(
    demo: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "taken"
    output.write_text("mine")
    with pytest.raises(SystemExit) as stop:
        draw(demo, output)
    assert stop.value.code == 2
    text = capsys.readouterr().err
    assert f"Cannot write below --output {output}" in text
    assert "Choose another." in text
    assert output.read_text() == "mine"
