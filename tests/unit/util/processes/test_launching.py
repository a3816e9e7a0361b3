"""How processes are started, without starting any."""

from argparse import Namespace
from typing import Any

import pytest
from torch.distributed.launcher import api

from util.processes import launching


@pytest.mark.parametrize(("given", "seconds"), [(None, launching.SECONDS_TO_SAVE), ("7", 7)])
def test_processes_that_are_asked_to_stop_have_the_time_to_save(
    given: str | None, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs: list[Any] = []

    def launch(config: api.LaunchConfig, script: str) -> Any:
        configs.append(config)
        return lambda *words: None

    for name in ("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # put back afterwards, whatever is set meanwhile
        monkeypatch.delenv(name)
    if given is not None:
        monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", given)
    monkeypatch.setattr(api, "elastic_launch", launch)
    launching.start(Namespace(gpu_ids=[], processes=2), "train.py", [])
    assert [config.shutdown_timeout for config in configs] == [seconds]
