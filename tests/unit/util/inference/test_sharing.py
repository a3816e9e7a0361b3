"""Which models, data sets and pages several processes share the images of a test for."""

from argparse import Namespace
from typing import Any

import pytest

from tests.unit.util.processes.test_group import as_process
from util.html import HTML
from util.inference.sharing import own_images
from util.processes import group

PATHS = [f"data/{number}.png" for number in range(5)]


class Independent:
    image_independent = True


class Derived(Independent):
    pass


class WithSheets:
    image_independent = True

    def sheets(self) -> list[Any]:
        return []


class Unequal:
    A_paths = PATHS
    B_paths = PATHS[:2]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, ""),
        ({"model": Derived()}, "Derived does not say that none depends on others"),
        ({"model": WithSheets()}, "WithSheets makes sheets of all of them"),
        ({"paths": PATHS[:4]}, "object does not list their files"),
        ({"dataset": Unequal()}, "Unequal repeats those of the smaller domain"),
        ({"use_wandb": True}, "--use_wandb gets them in order"),
        ({"page": object()}, "the page is one of builtins"),
    ],
)
def test_images_are_shared_out_where_it_changes_nothing(
    changed: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    given = {"model": Independent(), "dataset": object(), "page": HTML(tmp_path, ""), **changed}
    opt = Namespace(
        dataroot="data", direction="AtoB", batch_size=2, use_wandb=changed.get("use_wandb", False)
    )
    monkeypatch.setattr(group, "gathered", lambda value: [value, value])
    parts = []
    for rank in (0, 1):
        as_process(monkeypatch, rank, 2)
        parts.append(
            own_images(
                opt, given["model"], given["dataset"], given["page"], 5, changed.get("paths", PATHS)
            )
        )
    said = capsys.readouterr().out
    if why:
        assert f"The first of 2 processes translates all images: {why}" in said
        assert parts == [range(5), range(5, 5)]
    else:
        assert said == ""
        assert parts == [range(4), range(4, 5)]


def test_processes_that_see_other_images_go_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    as_process(monkeypatch, 1, 2)
    monkeypatch.setattr(group, "gathered", lambda value: [(7, "0"), value])
    opt = Namespace(dataroot="data", direction="AtoB", batch_size=1, use_wandb=False)
    with pytest.raises(ValueError, match="images to translate of process 1 are not those of"):
        own_images(opt, Independent(), object(), object(), 5, PATHS)
