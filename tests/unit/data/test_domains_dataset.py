"""A folder of images for each domain."""

from argparse import Namespace
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from data.domains_dataset import DomainsDataset
from data.pipeline.loader import BatchLoader
from options.test_options import TestOptions
from options.train_options import TrainOptions
from tests.support.commands import draw, scene
from util.base import rng
from util.base.errors import UserError

COUNTS = {"cat": 9, "dog": 3, "wild": 1}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("domains")
    for phase in ("train", "val", "test"):
        for domain, count in COUNTS.items():
            for number in range(count):
                draw(folder / phase / domain / f"{domain}{number}.png", scene(number, 40))
    return folder


def options(root: Path, *more: str, training: bool = True) -> Namespace:
    argv = ["--dataroot", str(root), "--dataset_mode", "domains", "--crop_size", "32"]
    if training:
        return TrainOptions().parse([*argv, "--model", "pix2pix", *more], quiet=True)
    return TestOptions().parse([*argv, *more], quiet=True)


def domain_of(path: str) -> str:
    return Path(path).parent.name


def loader(root: Path, *, workers: int = 0, batch_size: int = 4) -> BatchLoader:
    return BatchLoader(
        DomainsDataset(options(root)), batch_size=batch_size, shuffle=True, workers=workers,
        most=float("inf"), skip_bad=False, root=str(root), pin=False,
    )  # fmt: skip


def test_sorted_names_of_folders_are_the_labels(root: Path) -> None:
    opt = options(root)
    dataset = DomainsDataset(opt)
    assert (opt.domains, opt.num_domains) == ("cat,dog,wild", 3)  # for the model, and for test.py
    for index in range(len(dataset)):
        item = dataset[index]
        assert domain_of(item["A_paths"]) == dataset.domains[item["A_domain"]]
        assert domain_of(item["B_paths"]) == dataset.domains[item["B_domain"]]
        for name in ("A", "B", "B2"):
            assert item[name].shape == (3, 32, 32)
            assert -1 <= item[name].min() < item[name].max() <= 1


def test_all_domains_are_equally_likely_as_sources_and_as_references(root: Path) -> None:
    rng.seed_all(3)
    batches, sources, references = loader(root), Counter[int](), Counter[int]()
    pairs = Counter[tuple[int, int]]()
    for _ in range(60):
        for batch in batches:
            assert len(batch["A"]) == 4  # whole batches only, since images are drawn
            sources.update(batch["A_domain"].tolist())
            references.update(batch["B_domain"].tolist())
            pairs.update(zip(batch["A_domain"].tolist(), batch["B_domain"].tolist(), strict=True))
    for counts in (sources, references):
        assert sum(counts.values()) == 60 * 16  # 13, rounded up to whole batches
        assert all(270 < counts[label] < 370 for label in range(3)), counts
    assert all(75 < pairs[a, b] < 140 for a in range(3) for b in range(3))  # independent


def test_the_second_reference_is_fixed_for_each_place_and_is_of_the_same_domain(root: Path) -> None:
    first, second = (DomainsDataset(options(root)) for _ in range(2))
    assert first._second == second._second  # in every process
    for label, files in first.references.items():
        assert sorted(first._second[label]) == sorted(files)
    assert first._second[0] != first.references[0]


def test_workers_change_nothing_about_what_is_possible(root: Path) -> None:
    rng.seed_all(1)
    labels = [batch["A_domain"].tolist() for batch in loader(root, workers=1)]
    rng.seed_all(1)
    again = [batch["A_domain"].tolist() for batch in loader(root, workers=2)]
    assert labels == again


def test_an_epoch_goes_on_where_it_was_left(root: Path) -> None:
    rng.seed_all(5)
    first = loader(root)
    paths = [batch["A_paths"] for batch in first]
    rng.seed_all(5)
    second = loader(root)
    seen = iter(second)
    begun = [next(seen)["A_paths"]]
    third = loader(root)
    third.load_state_dict(second.state_dict())
    assert begun + [batch["A_paths"] for batch in third] == paths


def test_validation_draws_nothing(root: Path) -> None:
    opt = options(root)
    vars(opt).update(isTrain=False, phase="val", no_flip=True)
    dataset = DomainsDataset(opt)
    before = rng.state_dict()
    items = [dataset[index] for index in range(len(dataset))]
    assert str(rng.state_dict()) == str(before)
    assert {item["A_domain"] for item in items} == {0, 1, 2}
    assert all(item["A_domain"] != item["B_domain"] for item in items)
    assert all("references" not in item for item in items)  # of every domain: for test.py
    assert torch.equal(items[2]["A"], dataset[2]["A"])


def test_a_test_has_as_many_references_of_each_domain_as_images_are_made(root: Path) -> None:
    opt = options(root, training=False)
    opt.no_flip, opt.num_outs_per_domain = True, 2
    opt.mode = "reference"
    dataset = DomainsDataset(opt)
    assert dataset[0].keys() == {"A", "A_domain", "A_paths", "references"}  # nothing else is read
    references = dataset[0]["references"]
    assert references.shape == (3, 2, 3, 32, 32)
    assert not torch.equal(references[0, 0], references[0, 1])  # two cats
    assert torch.equal(references[2, 0], references[2, 1])  # there is one of these


def test_references_of_a_test_differ_from_source_to_source_and_are_the_same_again(
    root: Path,
) -> None:
    opt = options(root, training=False)
    opt.no_flip, opt.num_outs_per_domain = True, 5
    opt.mode = "reference"
    dataset = DomainsDataset(opt)
    of_cats = [dataset[index]["references"][0] for index in range(4)]
    assert all(len({image.sum().item() for image in one}) == 5 for one in of_cats)  # no cat twice
    assert len({tuple(image.sum().item() for image in one) for one in of_cats}) == 4
    assert torch.equal(DomainsDataset(opt)[2]["references"][0], of_cats[2])
    opt.seed = 5
    assert not torch.equal(DomainsDataset(opt)[2]["references"][0], of_cats[2])


def test_sources_and_references_may_be_elsewhere(root: Path, tmp_path: Path) -> None:
    draw(tmp_path / "mine" / "one.png", scene(77))
    one = str(tmp_path / "mine" / "one.png")
    opt = options(root, training=False)
    vars(opt).update(no_flip=True, src_dir=str(tmp_path / "mine"), ref_dir=one)
    dataset = DomainsDataset(opt)
    assert dataset.A_paths == [one]
    assert dataset.references == dict.fromkeys(range(3), [one])  # as one of every domain
    opt.src_dir = str(root / "val")
    assert len(DomainsDataset(opt)) == sum(COUNTS.values())
    opt.src_dir = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match="nowhere is not a valid directory"):
        DomainsDataset(opt)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--num_domains", "2"], "--num_domains 2, but there are 3 domains: cat, dog, wild"),
        (["--domains", "cat,dog"], "has wild, but the domains are cat, dog"),
        (["--domains", "cat,dog,wild,fox"], "fox is not a valid directory"),
        (["--phase", "nothing"], "has no folders of domains"),
    ],
    ids="-".join,
)
def test_contradictions_are_refused_by_name(root: Path, more: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        DomainsDataset(options(root, *more))


def test_domains_can_be_given_in_another_order(root: Path) -> None:
    dataset: Any = DomainsDataset(options(root, "--domains", "wild, dog, cat"))
    assert dataset.domains == ["wild", "dog", "cat"]
    assert dataset[0]["A_domain"] == 0
    assert domain_of(dataset[0]["A_paths"]) == "wild"
