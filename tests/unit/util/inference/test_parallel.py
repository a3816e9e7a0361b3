"""Several images at once, in processes."""

import os
import signal
import time
from collections.abc import Iterator

import pytest
import torch

from util.base.errors import UserError
from util.inference.parallel import in_processes


def where(item: int) -> tuple[int, int, int]:
    """Return the item, the process that saw it, and its threads."""
    time.sleep(0.03 * (item % 3))
    return item, os.getpid(), torch.get_num_threads()


def test_results_come_in_order_from_several_processes_with_a_thread_each() -> None:
    found = dict(in_processes(where, range(9), 2))
    assert [item for item, _, _ in found.values()] == list(found) == list(range(9))
    assert found[0][1] == os.getpid()  # which leaves there what the others begin with
    others = {process for _, process, _ in list(found.values())[1:]}
    assert len(others) == 2
    assert os.getpid() not in others
    assert {threads for _, _, threads in list(found.values())[1:]} == {1}


def test_one_process_is_this_one_and_takes_an_item_when_it_is_asked_for() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(3):
            taken.append(number)
            yield number

    results = in_processes(where, items(), 1)
    assert next(results)[1][1] == os.getpid()
    assert taken == [0]
    assert len(list(results)) == 2


def fail(item: int) -> int:
    """Fail at the third."""
    if item == 2:
        raise UserError("2 is too many")
    return item


def die(item: int) -> int:
    """End like a process that the system takes memory back from."""
    if item == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_errors_come_through_and_end_the_processes() -> None:
    with pytest.raises(UserError, match="2 is too many"):
        list(in_processes(fail, range(9), 2))


def test_a_process_that_dies_is_an_error_that_says_so() -> None:
    with pytest.raises(UserError, match="One of the 2 processes that translate was ended"):
        list(in_processes(die, range(9), 2))


def test_processes_end_when_nobody_takes_what_they_make() -> None:
    results = in_processes(where, range(100), 2)
    pids = {next(results)[1][1] for _ in range(4)} - {os.getpid()}
    results.close()  # type: ignore[attr-defined]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
