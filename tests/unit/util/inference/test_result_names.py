"""Names for what is made from each input image."""

import os
from argparse import Namespace
from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from util.inference.result_names import ResultNames, results_folder


def all_names(paths: list[str], root: str = "data") -> list[str]:
    results = ResultNames(paths, root)
    return [results.name(path) for path in paths]


@pytest.mark.parametrize(("load_iter", "folder"), [(0, "test_best"), (400, "test_best_iter400")])
def test_results_have_a_folder_for_each_phase_and_epoch(load_iter: int, folder: str) -> None:
    opt = Namespace(
        results_dir="results", name="run", phase="test", epoch="best", load_iter=load_iter
    )
    assert results_folder(opt) == os.path.join("results", "run", folder)


def test_different_stems_stay_flat_whatever_folder_they_are_in() -> None:
    paths = ["data/x/1.jpg", "data/y/deep/2.png", "data/3.tar.webp"]
    assert all_names(paths) == ["1", "2", "3.tar"]


def test_equal_stems_in_different_folders_keep_their_folder() -> None:
    assert all_names(["data/x/7.jpg", "data/y/7.jpg", "data/8.jpg"]) == ["x/7", "y/7", "8"]


def test_equal_stems_with_different_endings_keep_the_ending() -> None:
    assert all_names(["data/1.jpg", "data/1.png", "data/2.png"]) == ["1.jpg", "1.png", "2"]


def test_only_the_colliding_ones_keep_the_ending() -> None:
    paths = ["data/x/7.jpg", "data/x/7.png", "data/y/7.jpg"]
    assert all_names(paths) == ["x/7.jpg", "x/7.png", "y/7"]


def test_names_that_differ_only_in_case_are_kept_apart_for_file_systems_that_ignore_it() -> None:
    names = all_names(["data/x/Cat.jpg", "data/y/cat.jpg"])
    assert len({name.casefold() for name in names}) == 2


def test_an_image_that_was_not_announced_gets_its_stem() -> None:
    assert ResultNames().name("anywhere/else/7.jpg") == "7"


def test_one_not_announced_does_not_take_the_name_of_an_earlier_one() -> None:
    results = ResultNames()
    assert len({results.name("x/7.jpg"), results.name("y/7.jpg"), results.name("z/7.png")}) == 3


def test_images_outside_the_root_are_not_written_outside() -> None:
    paths = ["/elsewhere/a/7.jpg", "/elsewhere/b/7.jpg", "data/7.jpg"]
    for name in all_names(paths):
        assert not PurePosixPath(name).is_absolute()
        assert ".." not in PurePosixPath(name).parts


def test_the_same_list_twice_does_not_make_a_collision() -> None:
    assert all_names(["data/7.jpg", "data/7.jpg"]) == ["7", "7"]  # num_test above the set's size


FOLDERS = st.lists(st.sampled_from(["x", "X", "y", ".."]), max_size=2)
FILES = st.tuples(st.sampled_from(["7", "A", "a", "7.jpg"]), st.sampled_from([".jpg", ".png", ""]))


def joined(folders: list[str], file: tuple[str, str]) -> str:
    return os.path.normpath("/".join(["top", "data", *folders, "".join(file)]))


PATHS = st.lists(st.builds(joined, FOLDERS, FILES), max_size=6, unique_by=str.casefold)


def check(names: list[str]) -> None:
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert not PurePosixPath(name).is_absolute()
        assert ".." not in PurePosixPath(name).parts
        assert name.strip("/.") != ""


@given(paths=PATHS)
@example(paths=["top/data/7.jpg", "top/data/7.png", "top/data/7.jpg.png"])
@example(paths=["top/x/7.jpg", "top/data/x/7.jpg"])
def test_names_of_distinct_images_are_distinct_and_never_escape(paths: list[str]) -> None:
    check(all_names(paths, "top/data"))


@given(paths=PATHS)
@example(paths=["top/data/x/7.jpg", "top/data/7.jpg"])
def test_names_are_distinct_too_if_no_image_was_announced(paths: list[str]) -> None:
    results = ResultNames(root="top/data")
    check([results.name(path) for path in paths])


@given(paths=PATHS)
def test_a_name_does_not_depend_on_the_order_of_asking(paths: list[str]) -> None:
    results = ResultNames(paths, "top/data")
    forwards = {path: results.name(path) for path in paths}
    assert {path: results.name(path) for path in reversed(paths)} == forwards


@pytest.mark.parametrize("name", ["a#b", "50% off", "snow man ☃", "<b>", ".hidden"])
def test_unusual_names_are_kept(name: str) -> None:
    assert ResultNames().name(f"x/{name}.jpg") == name
