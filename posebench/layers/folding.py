"""Fold batch norms into the convolutions before them: the same function, computed faster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

M = TypeVar("M", bound=nn.Module)


def folded(model: M) -> M:
    """Return a copy in evaluation mode without the batch norms that follow a convolution.

    In evaluation a batch norm is a scale and a shift per channel, which the convolution's weight
    and bias take over.
    """
    copy = deepcopy(model).eval()
    for module in list(copy.modules()):
        for conv, norm in _pairs(module):
            layer = getattr(module, conv)
            transposed = isinstance(layer, nn.ConvTranspose2d)
            setattr(module, conv, fuse_conv_bn_eval(layer, getattr(module, norm), transposed))
            setattr(module, norm, nn.Identity())
    return copy


def _pairs(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the names of each convolution and the batch norm after it, its only reader.

    They are neighbours in an `nn.Sequential`, or `conv1` and `bn1` of a block, as timm names them.
    """
    children = dict(module.named_children())
    names = list(children)
    if isinstance(module, nn.Sequential):
        pairs = list(pairwise(names))
    else:
        pairs = [("conv" + name[2:], name) for name in names if re.fullmatch(r"bn\d*", name)]
    convs = (nn.Conv2d, nn.ConvTranspose2d)
    for conv, norm in pairs:
        if isinstance(children.get(conv), convs) and _is_batch_norm(children[norm]):
            yield conv, norm


def _is_batch_norm(layer: nn.Module) -> bool:
    # Imported here: torchvision takes long, and this module is imported to evaluate any file.
    from torchvision.ops import FrozenBatchNorm2d

    return isinstance(layer, (nn.BatchNorm2d, FrozenBatchNorm2d))
