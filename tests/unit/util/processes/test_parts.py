"""Parts of one work, without processes; tests/processes has real ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.util.processes.test_group import as_process
from util.base.errors import UserError
from util.processes.parts import by_first, go_on, own_items, own_pace, own_part, shared


@given(things=st.integers(0, 40), count=st.integers(1, 9), at_once=st.integers(1, 5))
def test_parts_are_whole_batches_in_one_row_and_the_first_process_has_most(
    things: int, count: int, at_once: int
) -> None:
    parts = []
    for rank in range(count):
        with pytest.MonkeyPatch.context() as patch:
            as_process(patch, rank, count)
            parts.append(own_part(things, at_once))
            assert own_items(range(things), at_once) == parts[-1]
    assert [each for part in parts for each in part] == list(range(things))
    assert all(part.start % at_once == 0 for part in parts if part)
    assert max(map(len, parts)) <= len(parts[0])
    batches = [-(-len(part) // at_once) for part in parts]
    assert max(batches) - min(batches) <= 1


def test_one_process_does_everything_and_fails_as_ever() -> None:
    assert shared(3, lambda part: [2 * number for number in part], at_once=2) == [0, 2, 4]
    assert by_first(lambda: "done") == "done"
    go_on()
    problem = UserError("why")
    with pytest.raises(UserError) as raised, own_pace():
        raise problem
    assert raised.value is problem
