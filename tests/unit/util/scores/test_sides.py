"""Which images of two domains of unequal size are new."""

from argparse import Namespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from util.scores.sides import Repeats, made_from, paths_of, unequal_domains


@pytest.mark.parametrize(
    ("label", "domain"),
    [
        ("real_A", "A"), ("rec_A", "A"), ("fake_B", "A"), ("idt_B", "A"), ("cycle_A", "A"),
        ("real_B", "B"), ("rec_B", "B"), ("fake_A", "B"), ("idt_A", "B"), ("cycle_B", "B"),
        ("fake", None), ("real", None), ("", None), ("mask_A", None), ("fake_B_rgb", None),
    ],
)  # fmt: skip
def test_a_label_tells_what_an_image_was_made_from(label: str, domain: str | None) -> None:
    assert made_from(label) == domain


@given(a=st.integers(1, 6), b=st.integers(1, 6))
def test_every_image_of_each_domain_is_new_once(a: int, b: int) -> None:
    repeats, new = Repeats(), {"A": 0, "B": 0}
    for index in range(max(a, b)):
        old = repeats.side_of({"A": f"{index % a}", "B": f"{index % b}"})
        for side in "AB":
            new[side] += side != old
    assert new == {"A": a, "B": b}


def test_the_direction_swaps_what_the_model_calls_its_domains() -> None:
    batch = {"A": 0, "A_paths": ["a0", "a1"], "B_paths": ["b0", "b1"]}
    assert paths_of(batch, 1, "AtoB") == {"A": "a1", "B": "b1"}
    assert paths_of(batch, 0, "BtoA") == {"A": "b0", "B": "a0"}
    assert paths_of({"A_paths": ["a0"]}, 0, "AtoB") == {"A": "a0"}


def test_a_single_domain_repeats_nothing() -> None:
    repeats = Repeats()
    assert [repeats.side_of({"A": "same"}) for _ in range(3)] == [None] * 3


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ({"A_paths": [1, 2], "B_paths": [3]}, True),
        ({"A_paths": [1, 2], "B_paths": [3, 4]}, False),
        ({"A_paths": [1, 2], "B_paths": []}, False),
        ({"A_paths": [1, 2], "B_paths": 3}, False),
        ({"AB_paths": [1, 2]}, False),
    ],
    ids=str,
)
def test_a_data_set_with_lists_of_two_lengths_has_a_smaller_domain(
    lists: dict[str, object], expected: bool
) -> None:
    assert unequal_domains(Namespace(**lists)) == expected
