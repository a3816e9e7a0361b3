"""Checks of option values."""

from argparse import Namespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.optimization.schedulers import LR_POLICIES
from options.parsing.rules import PREPROCESSING, base_problems, train_problems

WORDS = ("resize", "crop", "scale_width", "scale_shortside", "none", "flip", "")


def base(direction: str = "AtoB", preprocess: str = "resize_and_crop") -> list[str]:
    return list(base_problems(Namespace(direction=direction, preprocess=preprocess)))


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_both_directions_are_known(direction: str) -> None:
    assert base(direction=direction) == []


@pytest.mark.parametrize(
    ("given_value", "hint"),
    [("atob", ""), ("Atob", "Did you mean 'AtoB'? "), ("BtoA ", "Did you mean 'BtoA'? ")],
)
def test_another_direction_is_answered_with_the_known_ones(given_value: str, hint: str) -> None:
    (problem,) = base(direction=given_value)
    assert problem.startswith(f"--direction {given_value} is not known. {hint}")
    assert problem.endswith("Available: AtoB, BtoA.")


@pytest.mark.parametrize("preprocess", [*PREPROCESSING, "crop_and_resize", "crop_and_scale_width"])
def test_the_words_of_a_mode_may_stand_in_any_order(preprocess: str) -> None:
    assert base(preprocess=preprocess) == []


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3))
def test_other_words_are_refused(words: list[str]) -> None:
    found = base(preprocess="_and_".join(words))
    known = {frozenset(mode.split("_and_")) for mode in PREPROCESSING}
    assert (found == []) == (frozenset(words) in known and len(words) == len(set(words)))


@pytest.mark.parametrize(
    ("given_value", "near"),
    [
        ("rezise_and_corp", "resize_and_crop"),
        ("None", "none"),
        ("scale_widht_and_crop", "scale_width_and_crop"),
        ("resize_and_corp", "resize_and_crop"),
        ("resize_crop", "resize_and_crop"),
        ("scale_short_side_and_crop", "scale_shortside_and_crop"),
        ("scalewidth", "scale_width"),
        ("resize_and_none", "resize_and_crop"),
        ("crop_and_crop", "resize_and_crop"),
        ("crop_", "crop"),
    ],
)
def test_what_nearly_is_a_mode_is_answered_with_it(given_value: str, near: str) -> None:
    (problem,) = base(preprocess=given_value)
    assert problem.startswith(f"--preprocess {given_value} is not known. Did you mean {near!r}?")
    assert all(mode in problem for mode in PREPROCESSING)


def test_every_problem_is_reported() -> None:
    assert len(base("atob", "rezise")) == 2


@pytest.mark.parametrize("policy", ["linear", "step", "plateau", "cosine"])
def test_policies_are_those_that_have_a_schedule(policy: str) -> None:
    assert policy in LR_POLICIES
    assert list(train_problems(Namespace(lr_policy=policy))) == []


def test_another_policy_is_answered_with_the_known_ones() -> None:
    assert list(train_problems(Namespace(lr_policy="cosin"))) == [
        "--lr_policy cosin is not known. Did you mean 'cosine'? "
        "Available: linear, step, plateau, cosine."
    ]
