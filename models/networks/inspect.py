"""What a checkpoint's keys tell about the network it was made with."""

import re
from collections.abc import Iterable

LAYER_OF_BLOCK = re.compile(r"(?:module\.)?model\.\d+\.conv_block\.(\d)\.weight")


def resnet_uses_dropout(keys: Iterable[str]) -> bool | None:
    """Tell whether a ResNet generator was built with dropout; None if it is another network.

    A residual block's second convolution is layer 5 of the block, 6 behind a dropout layer; with
    zero padding, which has no layer of its own, 3 and 4.
    """
    found = {int(match[1]) for key in keys if (match := LAYER_OF_BLOCK.fullmatch(key))}
    without, behind_dropout = (3, 4) if 0 in found else (5, 6)
    if without in found:
        return False
    return True if behind_dropout in found else None
