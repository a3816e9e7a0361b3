"""Checks of option values."""

from argparse import Namespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.optimization.schedulers import LR_POLICIES
from options.parsing.rules import PREPROCESS_PARTS, PREPROCESSING, base_problems, train_problems

ANY_TEXT = st.text(max_size=10)


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


@pytest.mark.parametrize(
    "preprocess",
    [*PREPROCESSING, "resize_then_crop", "scale_width_crop", "my_crop"],
)
def test_modes_that_the_reference_knows_or_finds_parts_of_are_accepted(preprocess: str) -> None:
    assert base(preprocess=preprocess) == []


@given(before=ANY_TEXT, part=st.sampled_from(PREPROCESS_PARTS), after=ANY_TEXT)
def test_any_mode_that_contains_a_part_is_accepted(before: str, part: str, after: str) -> None:
    assert base(preprocess=f"{before}{part}{after}") == []


@given(preprocess=ANY_TEXT)
def test_any_other_mode_is_refused(preprocess: str) -> None:
    works = preprocess == "none" or any(part in preprocess for part in PREPROCESS_PARTS)
    assert (base(preprocess=preprocess) == []) == works


@pytest.mark.parametrize(
    ("given_value", "near"), [("rezise_and_corp", "resize_and_crop"), ("None", "none")]
)
def test_a_mode_without_any_part_is_answered_with_the_known_ones(
    given_value: str, near: str
) -> None:
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
