"""What a checkpoint's keys tell about the network it was made with."""

import re
from collections.abc import Iterable

SECOND_CONVOLUTION = re.compile(r"(?:module\.)?model\.\d+\.conv_block\.(\d)\.weight")


def resnet_uses_dropout(keys: Iterable[str]) -> bool | None:
    """Tell whether a ResNet generator was built with dropout; None if it is another network.

    A residual block's second convolution is layer 5 of the block, 6 behind a dropout layer; with
    zero padding, which has no layer of its own, 3 and 4.
    """
    found = {int(match[1]) for key in keys if (match := SECOND_CONVOLUTION.fullmatch(key))}
    if {1, 5} <= found or {0, 3} <= found:
        return False
    if {1, 6} <= found or {0, 4} <= found:
        return True
    return None
