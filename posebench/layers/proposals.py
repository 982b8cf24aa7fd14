"""Selection of the encoder's tokens that propose a person.

Shapes: B images, S tokens of the pyramid, N selected.
"""

from __future__ import annotations

import torch
from torch import Tensor

from posebench.layers.deformable import Tokens
from posebench.layers.portable import portable

BORDER = 0.01  # tokens nearer to the image's border, as a share of its side, are no proposals
FINEST_SIDE = 0.05  # of the boxes that the finest level proposes; doubled at each next level


def proposal_centres(tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Return which tokens may propose a person, and where.

    Returns:
        A mask (B, S), False on padding and at the border, and the logits (B, S, 2) of the tokens'
        centres, infinite where the mask is False.
    """
    centres = tokens.centres
    usable = ((centres > BORDER) & (centres < 1 - BORDER)).all(-1)
    if tokens.padding is not None:
        usable = usable & ~tokens.padding
    return usable, centres.logit().masked_fill(~usable[..., None], torch.inf)


def proposal_sides(tokens: Tokens) -> Tensor:
    """Return the logits (S, 2) of the width and height of the boxes that the tokens propose.

    Source: Deformable DETR's two-stage variant.
    """
    extents = tokens.extents
    return torch.cat(
        [
            extents.new_full((height * width, 2), FINEST_SIDE * 2**level)
            for level, (height, width) in enumerate(tokens.sizes)
        ]
    ).logit()


def best_tokens(logits: Tensor, count: int) -> Tensor:
    """Return the indices (B, N) of the `count` best tokens, or of all if there are fewer.

    As published, a token that may not propose a person can be selected too.

    Args:
        logits: (B, S, classes); a token is as good as its best class.
        count: N.
    """
    if portable():  # the number of tokens is not known yet; images of any use have more
        return logits.amax(-1).topk(count).indices
    return logits.amax(-1).topk(min(count, logits.shape[1])).indices


def select(values: Tensor, indices: Tensor) -> Tensor:
    """Return the values (B, N, C) of the tokens at `indices` (B, N).

    Args:
        values: (B, S, C), or (1, S, C) for values that all images share.
        indices: into S.
    """
    values = values.expand(indices.shape[0], -1, -1)
    return values.gather(1, indices[..., None].expand(-1, -1, values.shape[-1]))
