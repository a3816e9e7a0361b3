"""Networks: every key, shape, type, their order, parameter counts, class names, errors."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from models import networks
from tests.golden.formulas import ids, listing, load

pytestmark = pytest.mark.golden

RECORDS = load("networks")


def build(record: Mapping[str, Any], norm: str | None = None) -> nn.Module:
    """Build the network of a record without memory for its weights."""
    norm = norm or record["norm"]
    with torch.device("meta"):
        if "netG" in record:
            return networks.define_G(
                record["input_nc"],
                record["output_nc"],
                record["ngf"],
                record["netG"],
                norm,
                record["use_dropout"],
            )
        return networks.define_D(
            record["input_nc"], record["ndf"], record["netD"], record["n_layers_D"], norm
        )


def compare(net: nn.Module, record: Mapping[str, Any]) -> None:
    """Compare a network with its record."""
    assert listing(net.state_dict()) == record["keys"]
    parameters = list(net.parameters())
    assert sum(p.numel() for p in parameters) == record["n_params"]
    assert len(parameters) == record["n_param_tensors"]
    assert type(net).__name__ == record["class"]


@pytest.mark.parametrize(
    "record",
    RECORDS["G"],
    ids=ids(RECORDS["G"], "netG", "norm", "use_dropout", "input_nc", "output_nc"),
)
def test_generator_has_the_recorded_state(record: dict[str, Any]) -> None:
    compare(build(record), record)


@pytest.mark.parametrize(
    "record", RECORDS["D"], ids=ids(RECORDS["D"], "netD", "n_layers_D", "norm", "input_nc")
)
def test_discriminator_has_the_recorded_state(record: dict[str, Any]) -> None:
    compare(build(record), record)


SYNCHRONISED = [
    record
    for record in RECORDS["G"] + RECORDS["D"]
    if record["norm"] == "batch" and record["input_nc"] == 3
]


@pytest.mark.parametrize(
    "record", SYNCHRONISED, ids=ids(SYNCHRONISED, "netG", "netD", "n_layers_D", "use_dropout")
)
def test_syncbatch_has_the_keys_of_batch(record: dict[str, Any]) -> None:
    compare(build(record, norm="syncbatch"), record)


@pytest.mark.parametrize("record", RECORDS["errors"], ids=ids(RECORDS["errors"], "message"))
def test_unknown_name_raises_what_the_reference_raised(record: dict[str, Any]) -> None:
    assert record["error"] == "NotImplementedError"
    with pytest.raises(NotImplementedError) as error:
        getattr(networks, record["call"])(*record["args"])
    assert record["message"] in str(error.value)
    assert isinstance(error.value, ValueError), "users' mistakes are ValueErrors here"
